"""Class folders, torchvision's: [train|val/]nXXXXXXXX/*.JPEG, or a flat val/."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from transforms import storage
from transforms.layouts import (
    IMAGE_SUFFIXES,
    WNID,
    FoundParts,
    InputPart,
    PartItem,
    make_ref,
)
from transforms.records import SkippedFile, list_names

LOOKED_FOR = "[train|val/]nXXXXXXXX/*.JPEG"
KAGGLE_FOLDERS = ("ILSVRC", "Data", "CLS-LOC")
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation"}


def find(path: str) -> FoundParts | None:
    """Recognise class folders below a path, or below its split folders."""
    steps = PurePosixPath(path).parts
    if not storage.is_folder(path) or steps[-3:] == KAGGLE_FOLDERS:
        return None  # Kaggle's tree is its own layout
    inside = {entry.name for entry in storage.list_folder(path) if entry.is_folder}
    folders = [f for f in SPLIT_FOLDERS if f in inside]
    if folders:
        parts = [find_split(path, f, SPLIT_FOLDERS[f]) for f in folders]
    else:
        parts = [find_split(path, ".", SPLIT_FOLDERS.get(steps[-1], "train"))]
    pieces = tuple(piece for found, _ in parts for piece in found)
    if not pieces:
        return None
    what = " and ".join(folders) or f"{len(pieces)} classes"
    notes = tuple(note for _, found in parts for note in found)
    if "test" in inside:
        notes += (f"{path}/test is left out: its images have no labels",)
    return FoundParts(
        description=f"class folders ({what} in {path})", pieces=pieces, notes=notes
    )


def find_split(root: str, uri: str, split: str) -> tuple[list[InputPart], list[str]]:
    """Find the class folders of a split, or the flat folder of validation.

    Returns:
      The parts, and notes about other files.
    """
    folder = root if uri == "." else f"{root}/{uri}"
    entries = storage.list_folder(folder)
    classes = [e.name for e in entries if e.is_folder and WNID.fullmatch(e.name)]
    others = [
        e.name
        for e in entries
        if e.is_folder and not WNID.fullmatch(e.name) and not e.name.startswith(".")
    ]
    is_flat = any(_is_image(e.name) for e in entries if not e.is_folder)
    prefix = "" if uri == "." else f"{uri}/"
    notes = []
    pieces = [
        InputPart(
            layout="class_folders",
            root=root,
            uri=f"{prefix}{name}",
            split=split,
            wnid=name,
        )
        for name in classes
    ]
    if is_flat and split == "validation":
        pieces.append(
            InputPart(layout="class_folders", root=root, uri=uri, split=split)
        )
    others += [
        e.name
        for e in entries
        if not (e.is_folder or e.name.startswith(".") or _is_image(e.name))
    ]
    if is_flat and split != "validation":
        others.append("images outside any class folder")
    if others and pieces:
        notes.append(f"{folder}: not class folders, left out: {list_names(others)}")
    return pieces, notes


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of one folder."""
    for entry in storage.list_folder(piece.path):
        uri = piece.child(entry.name)
        if not entry.is_folder:
            yield make_ref(piece, entry.name, uri=uri, offset=0, length=entry.num_bytes)
        elif piece.wnid or not WNID.fullmatch(entry.name):
            yield SkippedFile(uri, f"{entry.name}/")


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
