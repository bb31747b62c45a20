"""Read Kaggle's extracted folders ILSVRC/Data/CLS-LOC/{train/nXXXXXXXX,val}."""

from collections.abc import Iterator

from transforms import storage
from transforms.layouts import FoundParts, InputPart, PartItem, class_folders

_INSIDE = "/".join(class_folders.KAGGLE_FOLDERS)
LOOKED_FOR = _INSIDE
IS_EXTRACTED = True


def find(path: str) -> FoundParts | None:
    """Find Kaggle's folders, given ILSVRC, its parent, or its CLS-LOC folder."""
    root = _find_root(path)
    if root is None:
        return None
    pieces, notes = class_folders.find_split(root, _INSIDE, "")
    if not pieces:
        return None
    return FoundParts(
        description=f"Kaggle's tree in {root}",
        pieces=tuple(pieces),
        notes=tuple(notes),
    )


def _find_root(path: str) -> str | None:
    """Return the folder above ILSVRC, so that uris do not depend on the given path.

    Return None if the path is not part of Kaggle's folders.
    """
    if storage.is_folder(f"{path}/{_INSIDE}"):
        return path
    for start in (_INSIDE, class_folders.KAGGLE_FOLDERS[0]):
        root = path.removesuffix(f"/{start}")
        if root != path and storage.is_folder(f"{root}/{_INSIDE}"):
            return root
    return None


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images, skipped files and observations of one folder."""
    return class_folders.read(piece)
