"""Kaggle's tree: ILSVRC/Data/CLS-LOC/{train/nXXXXXXXX,val}, validation flat."""

from collections.abc import Iterator

from transforms import storage
from transforms.layouts import FoundParts, InputPart, PartItem, class_folders

_INSIDE = "/".join(class_folders.KAGGLE_FOLDERS)
LOOKED_FOR = _INSIDE


def find(path: str) -> FoundParts | None:
    """Recognise the tree from its top, from ILSVRC, or from CLS-LOC."""
    root = _find_root(path)
    if root is None:
        return None
    tree = f"{root}/{_INSIDE}"
    inside = {entry.name for entry in storage.list_folder(tree) if entry.is_folder}
    pieces: list[InputPart] = []
    notes: list[str] = []
    for folder, split in class_folders.SPLIT_FOLDERS.items():
        if folder in inside:
            found, said = class_folders.find_split(root, f"{_INSIDE}/{folder}", split)
            pieces += found
            notes += said
    if not pieces:
        return None
    if "test" in inside:
        notes.append("ILSVRC/Data/CLS-LOC/test is left out: its images have no labels")
    return FoundParts(
        description=f"Kaggle's tree in {root}", pieces=tuple(pieces), notes=tuple(notes)
    )


def _find_root(path: str) -> str | None:
    """Go up to the folder above ILSVRC, so that every start gives the same uris."""
    if storage.is_folder(f"{path}/{_INSIDE}"):
        return path
    for start in (_INSIDE, class_folders.KAGGLE_FOLDERS[0]):
        root = path.removesuffix(f"/{start}")
        if root != path and storage.is_folder(f"{root}/{_INSIDE}"):
            return root
    return None


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images of one folder."""
    return class_folders.read(piece)
