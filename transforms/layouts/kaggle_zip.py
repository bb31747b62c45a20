"""Kaggle's zip, unextracted, or class folders in any zip: read by its directory."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from transforms import storage
from transforms.archives import zips
from transforms.layouts import FoundParts, InputPart, PartItem, make_ref

LOOKED_FOR = "ILSVRC/Data/CLS-LOC or nXXXXXXXX/*.JPEG in a zip"
KAGGLE = "imagenet-object-localization-challenge.zip"
LABELS = "LOC_val_solution.csv"
_TREE = "ILSVRC"  # what the zip becomes when it is extracted
# A piece is as many entries of the directory as stay small when they are refs.
_ENTRIES_PER_PIECE = 1 << 16
_FOLDER = re.compile(
    rb"(?:ILSVRC/Data/CLS-LOC/|([^/]+)/)??(?:(train|val|validation)/)?(?:(n\d{8})/)?"
)
# Class folders in a folder of another name are training images, but not in these.
_OTHER_SPLIT = re.compile(rb"val|test|dev|eval|holdout|__macosx", re.IGNORECASE)
_MAX_FOLDERS = 1 << 14


class _Kind(NamedTuple):
    """The split and class of a member, from its folder."""

    split: str
    is_labelled: bool


class _Counted(NamedTuple):
    """The contents of the directory."""

    pieces: list[InputPart]
    num_images: Counter[str]  # by split
    num_others: int
    first_other: str
    has_labels: bool


def find(path: str) -> FoundParts | None:
    """Recognise a zip by its members, or a folder that contains Kaggle's zip."""
    archive = _find_archive(path)
    if archive is None:
        return None
    counted = _scan(archive)
    if not counted.pieces:
        return None
    counts = " and ".join(f"{n} {s}" for s, n in sorted(counted.num_images.items()))
    notes: tuple[str, ...] = ()
    if counted.num_others:
        notes = (
            f"{archive}: {counted.num_others} members are outside train and val and "
            f"are left out ({counted.first_other}, ...)",
        )
    return FoundParts(
        description=f"zip ({counts} files in {archive})",
        pieces=tuple(counted.pieces),
        notes=notes,
    )


def _find_archive(path: str) -> str | None:
    if not storage.is_folder(path):
        return path if path.lower().endswith(zips.SUFFIX) else None
    names = {entry.name for entry in storage.list_folder(path)}
    return f"{path}/{KAGGLE}" if KAGGLE in names and _TREE not in names else None


def _scan(archive: str) -> _Counted:
    """Split the directory into parts; flat validation must stay in one part."""
    root, _, uri = archive.rpartition("/")
    directory = zips.find_directory(archive)
    spans: dict[_Kind, list[list[int]]] = {}  # start, end, number of entries
    num_images: Counter[str] = Counter()
    num_entries, num_others, first_other, has_labels = 0, 0, "", False
    for entry in zips.read_entries(archive, directory.start, directory.end):
        num_entries += 1
        if entry.name.endswith(b"/"):
            continue
        kind = _find_kind(entry.name[: entry.name.rfind(b"/") + 1])
        if kind is None:
            num_others += 1
            first_other = first_other or zips.decode_name(entry)
            has_labels |= entry.name == LABELS.encode()
            continue
        num_images[kind.split] += 1
        own = spans.setdefault(kind, [])
        if not own or (kind.is_labelled and own[-1][2] >= _ENTRIES_PER_PIECE):
            own.append([entry.position, entry.end, 0])
        own[-1][1:] = entry.end, own[-1][2] + 1
    directory.check_count(archive, num_entries)
    pieces = [
        InputPart(
            layout="kaggle_zip",
            root=root,
            uri=uri,
            split=kind.split,
            is_labelled=kind.is_labelled,
            offset=start,
            length=end - start,
            labels=f"{archive}/{LABELS}" if has_labels and not kind.is_labelled else "",
        )
        for kind, own in sorted(spans.items(), reverse=True)
        for start, end, _ in own
    ]
    return _Counted(pieces, num_images, num_others, first_other, has_labels)


@lru_cache(_MAX_FOLDERS)
def _find_kind(folder: bytes) -> _Kind | None:
    """Return the kind of a folder's files; None if neither class nor split is known."""
    match = _FOLDER.fullmatch(folder)
    if match is None:
        return None
    top, split_folder, wnid = match.groups()
    is_validation = split_folder in {b"val", b"validation"}
    if not (wnid or is_validation):
        return None
    if top and not split_folder and _OTHER_SPLIT.match(top):
        return None
    return _Kind("validation" if is_validation else "train", wnid is not None)


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of a part of the directory, of one split."""
    kind = _Kind(piece.split, piece.is_labelled)
    finder = zips.DataFinder(piece.path)
    end = piece.offset + piece.length
    entries = zips.read_entries(piece.path, piece.offset, end)
    for entry, next_header in zips.with_next(entries):
        end_of_folder = entry.name.rfind(b"/") + 1
        is_folder = end_of_folder == len(entry.name)
        if is_folder or _find_kind(entry.name[:end_of_folder]) != kind:
            continue
        member = finder.find(entry, next_header)
        *_, folder, name = member.name.rsplit("/", 2)
        yield make_ref(
            piece,
            name,
            uri=piece.uri,
            offset=member.offset,
            length=member.length,
            wnid=folder if piece.is_labelled else "",
            encoding="deflate" if member.is_deflated else "raw",
        )
