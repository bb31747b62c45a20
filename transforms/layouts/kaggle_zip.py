"""Read Kaggle's zip, or a zip of class folders, without extracting it."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from transforms import input_warnings, splits, storage
from transforms.archives import zips
from transforms.input_warnings import Observation
from transforms.labels.validation import KAGGLE_TABLE
from transforms.layouts import (
    FoundParts,
    InputPart,
    PartItem,
    is_image_name,
    is_system_file,
    list_entries,
    make_ref,
    parse_class_folder,
)
from transforms.records import ByteRange

LOOKED_FOR = "ILSVRC/Data/CLS-LOC or nXXXXXXXX/*.JPEG in a zip"
KAGGLE = "imagenet-object-localization-challenge.zip"
# A part has few enough directory entries that its references take little memory.
_ENTRIES_PER_PIECE = 1 << 16
_MAX_FOLDERS = 1 << 14
_MAX_NAMES = 512  # of each folder, to decide its split
_INSIDE_CLASS = "images"  # Tiny ImageNet's
_MAX_DEPTH = 5  # ILSVRC/Data/CLS-LOC/train/nXXXXXXXX


class _Kind(NamedTuple):
    """The kind of a member, derived from its folder."""

    container: str  # path of the zip and the folder of class folders or flat images
    is_labelled: bool  # whether its folder is a class folder
    split: str  # stated by the container; "" for none


class _Counted:
    """Counts, image names and directory byte ranges of the members of one kind."""

    def __init__(self, position: int, name: str) -> None:
        self.position = position
        self.first = name
        self.spans: list[list[int]] = []  # start, end, number of entries
        self.num_files = 0
        self.num_images = 0
        self.names: list[str] = []  # of every n-th image
        self._step = 1

    def add(self, entry: zips.Entry, *, is_labelled: bool) -> None:
        """Count a member.

        Args:
          entry: directory entry of the member.
          is_labelled: whether the kind may be divided into several parts. Images
            without labels stay in one part, because their labels are joined together.
        """
        name = entry.path.rpartition(b"/")[2].decode("ascii", "replace")
        self.num_files += 1
        if is_image_name(name) and not is_system_file(name):
            if self.num_images % self._step == 0:
                self.names.append(name.rpartition(".")[0])
            self.num_images += 1
            if len(self.names) > _MAX_NAMES:
                self.names = self.names[::2]
                self._step *= 2
        spans = self.spans
        if not spans or (is_labelled and spans[-1][2] >= _ENTRIES_PER_PIECE):
            spans.append([entry.position, entry.end, 0])
        spans[-1][1:] = entry.end, spans[-1][2] + 1

    def is_part(self, kind: _Kind) -> bool:
        """Return whether the members are labelled images or validation images."""
        if kind.is_labelled:
            return self.num_images > 0
        officials = list(map(splits.find_official_split, self.names))
        is_named = officials.count(splits.VALIDATION) * 2 > len(officials)
        return is_named or (kind.split == splits.VALIDATION and self.num_images > 0)


def find(path: str) -> FoundParts | None:
    """Find images in a zip, or in the zips of a folder.

    In a folder, these are Kaggle's zip or else the zips whose names state a split.

    Raises:
      UsageError: a zip is damaged.
    """
    pieces: list[InputPart] = []
    names: dict[str, list[str]] = {}
    described, notes = [], []
    observations: list[Observation] = []
    for archive in _find_archives(path):
        found, num_files, said = _scan(archive, names, observations)
        pieces += found
        if found:
            counts = [f"{n} {s}".strip() for s, n in sorted(num_files.items())]
            described.append(f"{' and '.join(counts)} files in {archive}")
            notes += said
    if not pieces:
        return None
    return FoundParts(
        description=f"zip ({', '.join(described)})",
        pieces=tuple(pieces),
        notes=tuple(notes),
        warnings=tuple(input_warnings.summarise(observations)),
        names=names,
    )


def _find_archives(path: str) -> list[str]:
    if not storage.is_folder(path):
        return [path] if path.lower().endswith(zips.SUFFIX) else []
    entries = list_entries(path)
    names = {entry.name for entry in entries if not entry.is_folder}
    if KAGGLE in names:
        return [f"{path}/{KAGGLE}"]
    return [
        f"{path}/{name}"
        for name in sorted(names)
        if name.lower().endswith(zips.SUFFIX)
        and splits.parse_split(name) in splits.FLAGS
    ]


def _scan(
    archive: str, names: dict[str, list[str]], observations: list[Observation]
) -> tuple[list[InputPart], Counter[str], list[str]]:
    """Divide the members of a zip into parts.

    Args:
      archive: path of the zip.
      names: receives the keys of some images, by `InputPart.place`.
      observations: receives an observation of images that are too deep, in folders
        inside class folders.

    Returns:
      The parts, their number of files by split, and notes about members left out.
    """
    root, _, uri = archive.rpartition("/")
    directory = zips.find_directory(archive)
    kinds: dict[_Kind | None, _Counted] = {}
    num_entries, has_labels = 0, False
    num_deeper, deeper = 0, ""
    for entry in zips.read_entries(archive, directory.start, directory.end):
        num_entries += 1
        path = entry.path
        if path.endswith(b"/"):
            continue
        folder = path[: path.rfind(b"/") + 1]
        kind = _find_kind(uri, folder)
        if kind is None and _is_deeper(uri, folder):
            name = zips.decode_name(entry)
            if is_image_name(name) and not is_system_file(name):
                deeper = deeper or name
                num_deeper += 1
        has_labels |= path == KAGGLE_TABLE.encode()
        if kind not in kinds:
            kinds[kind] = _Counted(entry.position, zips.decode_name(entry))
        kinds[kind].add(entry, is_labelled=kind is None or kind.is_labelled)
    directory.check_count(archive, num_entries)
    if deeper:
        observations.append(Observation("deeper", f"{uri}: {deeper}", num_deeper))
    parts = {k: c for k, c in kinds.items() if k is not None and c.is_part(k)}
    pieces = [
        InputPart(
            layout="kaggle_zip",
            root=root,
            uri=uri,
            container=kind.container,
            split=kind.split,
            is_labelled=kind.is_labelled,
            offset=start,
            length=end - start,
            labels=f"{archive}/{KAGGLE_TABLE}"
            if has_labels and not kind.is_labelled
            else "",
        )
        for kind, counted in sorted(
            parts.items(), key=lambda item: item[0].split, reverse=True
        )
        for start, end, _ in counted.spans
    ]
    num_files: Counter[str] = Counter()
    for kind, counted in parts.items():
        num_files[kind.split] += counted.num_files
        names.setdefault(f"{root}/{kind.container}", []).extend(counted.names)
    others = [c for k, c in kinds.items() if k is None or not c.is_part(k)]
    notes = []
    if others:
        first = min(others, key=lambda counted: counted.position).first
        notes.append(
            f"{archive}: {sum(counted.num_files for counted in others)} members are "
            f"outside train and val and are left out ({first}, ...)"
        )
    return pieces, num_files, notes


@lru_cache(_MAX_FOLDERS)
def _find_kind(uri: str, folder: bytes) -> _Kind | None:
    """Return the kind of the files in a folder; None if they are not read.

    Args:
      uri: name of the zip.
      folder: path of the folder in the zip, with a trailing slash.
    """
    steps = _split_path(folder)
    if "" in steps or ".." in steps or len(steps) > _MAX_DEPTH:
        return None
    if is_system_file("/".join(steps)):
        return None
    is_labelled = bool(steps) and bool(parse_class_folder(steps[-1]))
    container = "/".join([uri, *(steps[:-1] if is_labelled else steps)])
    split = splits.parse_path(container)
    is_deeper = not is_labelled and any(map(parse_class_folder, steps))
    is_outside = not is_labelled and split == splits.TRAIN
    is_outside |= is_deeper and split != splits.VALIDATION
    if split == splits.TEST or is_outside:
        return None
    return _Kind(container, is_labelled, split)


def _split_path(folder: bytes) -> list[str]:
    """Split a folder path into names, dropping `images` inside a class folder."""
    steps = folder.decode("utf-8", "replace").removesuffix("/").split("/")
    steps = [step for step in steps if step != "."] if steps != [""] else []
    if len(steps) > 1 and steps[-1].lower() == _INSIDE_CLASS:
        return steps[:-1] if parse_class_folder(steps[-2]) else steps
    return steps


@lru_cache(_MAX_FOLDERS)
def _is_deeper(uri: str, folder: bytes) -> bool:
    """Return whether a folder is nested in a class folder.

    Hidden folders and those of the test split do not count.
    """
    *above, last = _split_path(folder) or [""]
    is_hidden = any(step.startswith(".") for step in (*above, last))
    is_test = splits.parse_path("/".join([uri, *above])) == splits.TEST
    return any(map(parse_class_folder, above)) and not (is_hidden or is_test)


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the members of one kind in a range of the directory, as images if possible.

    Raises:
      UsageError: the zip is damaged, or a member is encrypted or compressed by a method
        other than deflate.
    """
    finder = zips.DataFinder(piece.path)
    end = piece.offset + piece.length
    entries = zips.read_entries(piece.path, piece.offset, end)
    for entry, next_header in zips.with_next(entries):
        end_of_folder = entry.path.rfind(b"/") + 1
        if end_of_folder == len(entry.name):
            continue
        kind = _find_kind(piece.uri, entry.path[:end_of_folder])
        if kind is None or kind[:2] != (piece.container, piece.is_labelled):
            continue
        member = finder.find(entry, next_header)
        name = member.name.rpartition("/")[2]
        *_, folder = _split_path(entry.path[:end_of_folder]) or [""]
        encoding = "deflate" if member.is_deflated else "raw"
        yield make_ref(
            piece,
            name,
            uri=piece.uri,
            location=ByteRange(member.offset, member.length, encoding),
            wnid=parse_class_folder(folder) if piece.is_labelled else "",
        )
