"""Kaggle's tree: ILSVRC/Data/CLS-LOC/{train/nXXXXXXXX,val}, validation flat."""

from collections.abc import Iterator
from pathlib import Path

from transforms.layouts import class_folders
from transforms.pieces import Found, Piece
from transforms.records import ImageRef, Stray

_INSIDE = Path(*class_folders.KAGGLE_FOLDERS)


def find(path: str) -> Found | None:
    """Recognise the tree from its top, from ILSVRC, or from CLS-LOC."""
    root = _find_root(Path(path).absolute())
    if root is None:
        return None
    pieces: list[Piece] = []
    notes: list[str] = []
    for folder, split in class_folders.SPLIT_FOLDERS.items():
        if (root / _INSIDE / folder).is_dir():
            uri = (_INSIDE / folder).as_posix()
            found, said = class_folders.find_split(root, uri, split)
            pieces += found
            notes += said
    if not pieces:
        return None
    if (root / _INSIDE / "test").is_dir():
        notes.append("ILSVRC/Data/CLS-LOC/test is left out: its images have no labels")
    return Found(
        description=f"Kaggle's tree in {root}", pieces=tuple(pieces), notes=tuple(notes)
    )


def _find_root(path: Path) -> Path | None:
    """Go up to the folder above ILSVRC, so that every start gives the same uris."""
    for root in (path, path.parent, path.parent.parent.parent):
        tree = root / _INSIDE
        if tree.is_dir() and (path == root or tree.is_relative_to(path)):
            return root
    return None


def read(piece: Piece) -> Iterator[ImageRef | Stray]:
    """Yield the images of one folder."""
    return class_folders.read(piece)
