"""Read WebDataset tars: NAME-train-0000.tar or train/*.tar, of timm or this program."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice

from transforms import splits, storage
from transforms.archives import declared_counts, tar, tar_headers
from transforms.archives.tar import Member, Read
from transforms.input_warnings import Observation
from transforms.labels import class_lists, image_names
from transforms.labels.image_names import LabelReader
from transforms.layouts import (
    WNID,
    FoundParts,
    InputPart,
    PartItem,
    ShardName,
    describe_shards,
    is_image_name,
    is_system_file,
    list_entries,
    make_ref,
    make_shard_parts,
    parse_class_tar,
)
from transforms.records import (
    ByteRange,
    DataError,
    SkippedFile,
    UsageError,
    list_names,
)

LOOKED_FOR = "NAME-train-0000.tar"
READS_HEADERS = True
_SUFFIX = ".tar"
_SPLITS = "validation|valid|val|train|test|fold_a|fold_b"
_NUMBER = r"(\d+)(?:[-_]of[-_](\d+))?\.tar"
_FILE = re.compile(rf"(?:.*[-_.])?({_SPLITS})[-_.]?{_NUMBER}", re.IGNORECASE)
_NUMBERED = re.compile(rf".*?{_NUMBER}")
_MEMBERS_SEEN = 8  # enough to recognise a sample
_SHOWN = 3
_MAX_LABEL_BYTES, _MAX_JSON_BYTES = 32, 1 << 20
_LABELS = ("json", "cls", "txt")


def find(path: str) -> FoundParts | None:
    """Find a shard, or the numbered shards in a folder and its split folders.

    Raises:
      UsageError: the first shard is damaged, or the shards belong to several datasets
        or dataset versions.
    """
    root, _, name = path.rpartition("/")
    if storage.is_folder(path):
        root, found = path, _find_shards(path)
    elif name.endswith(_SUFFIX):
        found = {name: _parse_name(name, "") or ShardName("", 0, 0)}
    else:
        return None
    found = dict(sorted(found.items()))
    lengths = declared_counts.read_lengths(root)
    pieces = make_shard_parts(root, found, layout="webdataset_tars", lengths=lengths)
    if not pieces or not _holds_samples(pieces[0].path):
        return None
    return describe_shards(
        path, pieces, found, kind="WebDataset's tars", lengths=lengths
    )


def _find_shards(path: str) -> dict[str, ShardName]:
    """Return the shards in a folder and its split folders, by uri.

    If some shards state a split, the others are dropped.
    """
    found = _list_shards(path, "", path.rpartition("/")[2])
    for entry in list_entries(path):
        if entry.is_folder and splits.parse_split(entry.name):
            found |= _list_shards(path, f"{entry.name}/", entry.name)
    stated = {uri: shard for uri, shard in found.items() if shard.split}
    return stated or found


def _list_shards(path: str, prefix: str, folder: str) -> dict[str, ShardName]:
    """Return the numbered tars in a folder by uri, without class archives.

    Args:
      path: folder of the input.
      prefix: the folder to list, relative to `path`, with a trailing slash; "" lists
        `path`.
      folder: name of the listed folder, which may state a split.
    """
    parsed = {
        f"{prefix}{entry.name}": _parse_name(entry.name, folder)
        for entry in list_entries(f"{path}/{prefix}".rstrip("/"))
        if not entry.is_folder
    }
    return {uri: shard for uri, shard in parsed.items() if shard is not None}


def _parse_name(name: str, folder: str) -> ShardName | None:
    """Parse split, number and total from a shard's file name or folder name.

    Return None if the file is not a numbered tar, or is a class archive.
    """
    if parse_class_tar(name):
        return None
    if match := _FILE.fullmatch(name):
        return ShardName(match[1].lower(), int(match[2]), int(match[3] or 0))
    if match := _NUMBERED.fullmatch(name):
        split = folder if splits.parse_split(folder) else ""
        return ShardName(split, int(match[1]), int(match[2] or 0))
    return None


def _holds_samples(path: str) -> bool:
    """Return whether an image among an archive's first members has a label file."""
    members = tar.read_members(path, observations=[])
    files = (m for m in members if not is_system_file(m.name))
    suffixes: dict[str, set[str]] = {}
    for member in islice(files, _MEMBERS_SEEN):
        key, suffix = split_name(member.name)
        suffixes.setdefault(key, set()).add(_kind(suffix))
    return any(
        seen.intersection(_LABELS) and any(is_image_name(f".{kind}") for kind in seen)
        for seen in suffixes.values()
    )


def _kind(suffix: str) -> str:
    """Return the last part of a suffix, e.g. jpg for `input.jpg`."""
    return suffix.rpartition(".")[2]


def split_name(name: str) -> tuple[str, str]:
    """Split a member's path into key and suffix, as WebDataset does.

    The split is at the first dot of the file name; the suffix is in lower case.
    """
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images, skipped files and observations of one archive.

    Raises:
      UsageError: the archive is damaged, or a sample has several images, repeated or
        separated members, or no valid label.
    """
    observations: list[Observation] = []
    labels = LabelReader(class_lists.read(piece.class_list))
    end = storage.num_bytes(piece.path)
    read_range = tar_headers.open_reader(piece.path, end)
    members = tar.read_members(
        piece.path,
        end=end,
        archive=piece.uri,
        observations=observations,
        read=read_range,
    )
    skipped: list[Member] = []
    files = _without_system_files(members, skipped)
    has_image: dict[str, bool] = {}  # by key
    for key, group in groupby(files, key=lambda m: split_name(m.name)[0]):
        sample = list(group)
        _check_neighbours(piece, key, sample, has_image)
        yield from _read_sample(piece, key, sample, labels, read_range)
    yield from labels.list_numbers()
    yield from (SkippedFile(piece.uri, member.name) for member in skipped)
    yield from observations


def _check_neighbours(
    piece: InputPart, key: str, members: Sequence[Member], has_image: dict[str, bool]
) -> None:
    """Check that the image and label files of a key are adjacent in the archive.

    Args:
      piece: the archive.
      key: key of the sample.
      members: adjacent members with this key.
      has_image: whether earlier samples have an image, by key; updated in place.

    Raises:
      UsageError: an earlier, separate group of members has the same key, and not both
        groups contain an image.
    """
    kinds = {_kind(split_name(m.name)[1]) for m in members if m.is_file}
    is_image = any(is_image_name(f".{kind}") for kind in kinds)
    if not is_image and kinds.isdisjoint(_LABELS):
        return
    if key in has_image and not (is_image and has_image[key]):
        raise UsageError(
            f"{piece.path}: {members[0].name} is apart from the other files of {key}; "
            "members of a sample must follow one another (pack them sorted by name)"
        )
    has_image[key] = is_image


def _without_system_files(
    members: Iterator[Member], skipped: list[Member]
) -> Iterator[Member]:
    """Yield all members except system files, which may be between those of a sample.

    Args:
      members: all members of the archive.
      skipped: receives the system files.
    """
    for member in members:
        if is_system_file(member.name):
            skipped.append(member)
        else:
            yield member


def _read_sample(
    piece: InputPart,
    key: str,
    members: Sequence[Member],
    labels: LabelReader,
    read_range: Read,
) -> Iterator[PartItem]:
    """Yield the image of a sample, and its skipped members.

    Args:
      piece: the archive.
      key: key of the sample.
      members: the members of the sample.
      labels: converts labels to wnids.
      read_range: returns the bytes at (offset, length) of the archive.

    Raises:
      UsageError: the sample has several images, a repeated member, or no valid label.
    """
    files: dict[str, Member] = {}
    for member in members:
        suffix = split_name(member.name)[1]
        if member.is_file and files.setdefault(suffix, member) is not member:
            raise UsageError(
                f"{piece.path}: the key {key} is repeated ({member.name}); write each "
                "sample under its own key"
            )
    images = {s: m for s, m in files.items() if is_image_name(f".{s}")}
    if len(images) > 1:
        shown = list_names((m.name for m in images.values()), _SHOWN)
        has_dots = any("." in suffix for suffix in images)
        raise UsageError(
            f"{piece.path}: the sample {key} has {len(images)} images ({shown}); "
            + (
                "WebDataset keys end at the first dot, so write keys without dots"
                if has_dots
                else "write one image per sample"
            )
        )
    image = next(iter(images.values()), None)
    for member in members:
        if member.is_link and is_image_name(member.name):
            yield Observation("links", f"{piece.uri}: {member.name}")
        if not member.is_file or image is None:
            yield SkippedFile(piece.uri, member.name)
    if image is None:
        return
    where = f"{piece.path}: {key}"
    name = _drop_middle(image.name)
    by_name = image_names.parse(name).wnid
    kinds = {_kind(suffix): member for suffix, member in files.items()}
    label = _read_label(read_range, kinds, where, is_named=bool(by_name))
    yield make_ref(
        piece,
        name,
        uri=piece.uri,
        location=ByteRange(image.offset, image.length),
        wnid=labels.find_wnid(by_name, label, where=where),
    )


def _drop_middle(name: str) -> str:
    """Remove the middle of a suffix of several parts: a.input.jpg becomes a.jpg."""
    key, suffix = split_name(name)
    return f"{key}.{name.rpartition('.')[2]}" if "." in suffix else name


def _read_label(
    read_range: Read, files: Mapping[str, Member], where: str, *, is_named: bool
) -> int | str | None:
    """Return the label of a sample, a class index or a wnid; None if there is none.

    A wnid in `json` takes precedence, because `cls` may be the label of a group. `cls`
    comes next. `label` in `json`, and then `txt`, are used only if the image's name
    does not state the class.

    Args:
      read_range: returns the bytes at (offset, length) of the archive.
      files: members of the sample by suffix.
      where: location of the sample, for messages.
      is_named: whether the image's name states its class.

    Raises:
      UsageError: the label file is damaged or too large.
    """
    described: object = None
    try:
        if "json" in files:
            described = json.loads(_read(read_range, files["json"], _MAX_JSON_BYTES))
        if isinstance(described, dict):
            for name in ("wnid", "synset"):
                if name in described:
                    return str(described[name])
        if "cls" in files:
            return _parse_label(_read(read_range, files["cls"], _MAX_LABEL_BYTES))
        if isinstance(described, dict) and not is_named:
            return described.get("label")
        if "txt" in files and files["txt"].length <= _MAX_LABEL_BYTES and not is_named:
            return _parse_label(_read(read_range, files["txt"], _MAX_LABEL_BYTES))
    except (DataError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: its label cannot be read ({error})") from error
    return None


def _parse_label(data: bytes) -> int | str:
    """Parse a class index or a wnid.

    Raises:
      ValueError: the text is neither.
    """
    text = data.strip().decode("ascii")
    return text if WNID.fullmatch(text.lower()) else int(data)


def _read(read_range: Read, member: Member, max_bytes: int) -> bytes:
    if member.length > max_bytes:
        raise ValueError(f"{member.length} bytes are too many")
    return read_range(member.offset, member.length)
