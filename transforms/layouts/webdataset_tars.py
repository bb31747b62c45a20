"""WebDataset's tars: NAME-train-0000.tar, or train/*.tar; timm's, and our own."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice

from transforms import storage
from transforms.archives import tar, tar_headers
from transforms.archives.tar import Member, Read
from transforms.labels import image_names
from transforms.layouts import (
    IMAGE_SUFFIXES,
    SPLIT_OF,
    WNID,
    FoundParts,
    InputPart,
    ShardName,
    describe_missing,
    make_ref,
)
from transforms.records import DataError, ImageRef, SkippedFile, UsageError

LOOKED_FOR = "NAME-train-0000.tar"
READS_HEADERS = True
_SPLITS = "|".join([*sorted(SPLIT_OF, reverse=True), "test"])
_NUMBER = r"(\d+)(?:[-_]of[-_](\d+))?\.tar"
_FILE = re.compile(rf"(?:.*[-_.])?({_SPLITS})[-_.]?{_NUMBER}")
_FILE_IN_SPLIT = re.compile(rf".*?{_NUMBER}")
_MEMBERS_SEEN = 8  # enough to know a sample by
_MAX_LABEL_BYTES, _MAX_JSON_BYTES = 32, 1 << 20


def find(path: str) -> FoundParts | None:
    """Recognise a folder of tars whose names or folder tell the split."""
    if not storage.is_folder(path):
        return None
    found = _list_tars(path, "", path.rstrip("/").rpartition("/")[2])
    for entry in storage.list_folder(path):
        if entry.is_folder and entry.name in SPLIT_OF:
            found |= _list_tars(path, f"{entry.name}/", entry.name)
    pieces = tuple(
        InputPart(
            layout="webdataset_tars",
            root=path,
            uri=uri,
            split=SPLIT_OF[name.split],
            is_labelled=True,
        )
        for uri, name in sorted(found.items())
        if name.split in SPLIT_OF
    )
    if not pieces or not _holds_samples(pieces[0].path):
        return None
    return FoundParts(
        description=f"WebDataset's tars ({len(pieces)} files in {path})",
        pieces=pieces,
        notes=tuple(describe_missing(path, found.values())),
    )


def _list_tars(path: str, prefix: str, folder: str) -> dict[str, ShardName]:
    """Return the tars of a folder by uri, without class archives."""
    found = {}
    for entry in storage.list_folder(f"{path}/{prefix}".rstrip("/")):
        if entry.is_folder or WNID.fullmatch(entry.name.removesuffix(".tar")):
            continue
        if match := _FILE.fullmatch(entry.name):
            split, number, total = match.groups()
        elif folder in SPLIT_OF and (match := _FILE_IN_SPLIT.fullmatch(entry.name)):
            split, (number, total) = folder, match.groups()
        else:
            continue
        name = ShardName(split, int(number), int(total or 0))
        found[f"{prefix}{entry.name}"] = name
    return found


def _holds_samples(path: str) -> bool:
    """Tell whether the first images of an archive have labels beside them."""
    members = list(islice(tar.read_members(path), _MEMBERS_SEEN))
    suffixes: dict[str, set[str]] = {}
    for member in members:
        key, suffix = split_name(member.name)
        suffixes.setdefault(key, set()).add(suffix)
    return any(
        own & {"cls", "json"} and own & {s[1:] for s in IMAGE_SUFFIXES}
        for own in suffixes.values()
    )


def split_name(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last component, as readers do."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def read(piece: InputPart) -> Iterator[ImageRef | SkippedFile]:
    """Yield the images of one archive."""
    end = storage.num_bytes(piece.path)
    read = tar_headers.open_reader(piece.path, end)
    members = tar.read_members(piece.path, end=end, read=read)
    for key, group in groupby(members, key=lambda m: split_name(m.name)[0]):
        yield from _read_sample(piece, key, list(group), read)


def _read_sample(
    piece: InputPart, key: str, members: Sequence[Member], read: Read
) -> Iterator[ImageRef | SkippedFile]:
    files = {split_name(m.name)[1]: m for m in members if m.is_file}
    images = [m for s, m in files.items() if f".{s}" in IMAGE_SUFFIXES]
    for member in members:
        is_one = files.get(split_name(member.name)[1]) is member
        if not is_one or member in images[1:] or (not images and member.is_file):
            yield SkippedFile(piece.uri, member.name)
    if not images:
        return
    where = f"{piece.path}: {key}"
    found = image_names.parse(images[0].name)
    label = _read_label(read, files, where)
    yield make_ref(
        piece,
        found.name,
        uri=piece.uri,
        offset=images[0].offset,
        length=images[0].length,
        wnid=image_names.find_wnid(found.wnid, label, where=where),
    )


def _read_label(
    read: Read, files: Mapping[str, Member], where: str
) -> int | str | None:
    """Return the class: the wnid of `json`, since `cls` may be a group's label."""
    try:
        if "json" in files:
            described = json.loads(_read(read, files["json"], _MAX_JSON_BYTES))
            if isinstance(described, dict) and "wnid" in described:
                return str(described["wnid"])
        if "cls" in files:
            return int(_read(read, files["cls"], _MAX_LABEL_BYTES))
    except (DataError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: its label cannot be read ({error})") from error
    return None


def _read(read: Read, member: Member, max_bytes: int) -> bytes:
    if member.length > max_bytes:
        raise ValueError(f"{member.length} bytes are too many")
    return read(member.offset, member.length)
