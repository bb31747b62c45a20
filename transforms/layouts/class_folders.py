"""Read torchvision's class folders [train|val/]nXXXXXXXX/*.JPEG, or a flat val/."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from transforms import splits, storage
from transforms.input_warnings import Observation
from transforms.layouts import (
    FoundParts,
    InputPart,
    PartItem,
    is_image_name,
    is_system_file,
    list_all,
    list_entries,
    make_ref,
    parse_class_folder,
    parse_class_tar,
)
from transforms.records import ByteRange, SkippedFile, UsageError, list_names

LOOKED_FOR = "[train|val/]nXXXXXXXX/*.JPEG"
IS_EXTRACTED = True
KAGGLE_FOLDERS = ("ILSVRC", "Data", "CLS-LOC")
_INSIDE_CLASS = "images"  # Tiny ImageNet's
_MAX_DEPTH = 3  # ILSVRC2012_img_train/train/sorted
_MAX_DEPTH_INSIDE_CLASS = 8  # stops at loops of links


class _Contents(NamedTuple):
    """The names in a folder by kind, without hidden folders and files."""

    classes: Sequence[tuple[str, str]]  # folder and wnid
    images: Sequence[str]
    folders: Sequence[str]  # others
    files: Sequence[str]  # others, without hidden ones


def find(path: str) -> FoundParts | None:
    """Find class folders and a flat validation split in a folder or its subfolders.

    Return None for Kaggle's folders too, which are another layout.
    """
    steps = PurePosixPath(path).parts
    if not storage.is_folder(path) or steps[-3:] == KAGGLE_FOLDERS:
        return None  # Kaggle's tree is its own layout
    pieces, notes = find_split(path, ".", splits.parse_split(steps[-1]))
    if not pieces:
        return None
    containers = dict.fromkeys(piece.container for piece in pieces)
    what = " and ".join(name for name in containers if name != ".")
    return FoundParts(
        description=f"class folders ({what or f'{len(pieces)} classes'} in {path})",
        pieces=tuple(pieces),
        notes=tuple(notes),
    )


def find_split(
    root: str, uri: str, stated: str, depth: int = 0
) -> tuple[list[InputPart], list[str]]:
    """Find class folders and flat validation images in a folder and its split folders.

    Subfolders are searched if their names state a split, or if the split is known and
    there is only one subfolder.

    Args:
      root: folder of the input.
      uri: path of the folder, relative to `root`; "." is the root itself.
      stated: split that the folder's name states; "" for none.
      depth: number of parent folders already searched.

    Returns:
      The parts, and notes about files and folders that are left out.
    """
    folder = root if uri == "." else f"{root}/{uri}"
    prefix = "" if uri == "." else f"{uri}/"
    contents = _list_contents(folder)
    pieces = [
        InputPart(
            layout="class_folders",
            root=root,
            uri=f"{prefix}{name}",
            container=uri,
            split=stated,
            wnid=wnid,
        )
        for name, wnid in contents.classes
    ]
    is_flat = _is_flat_validation(contents, stated)
    if is_flat:
        flat = InputPart(
            layout="class_folders", root=root, uri=uri, container=uri, split=stated
        )
        pieces.append(flat)
    notes: list[str] = []
    inside = _list_split_folders(contents, stated) if depth < _MAX_DEPTH else []
    read_folders = set()
    for name in inside:
        split = splits.parse_split(name)
        if split == splits.TEST:
            notes.append(f"{folder}/{name} is left out: its images have no labels")
            read_folders.add(name)
            continue
        found, said = find_split(root, f"{prefix}{name}", split or stated, depth + 1)
        pieces += found
        notes += said
        if found:
            read_folders.add(name)
    if contents.classes or is_flat:
        others = [n for n in contents.folders if n not in read_folders]
        others += contents.files
        if contents.images and not is_flat:
            others.append("images outside any class folder")
        if others:
            shown = list_names(others)
            notes.insert(0, f"{folder}: not class folders, left out: {shown}")
    return pieces, notes


def _list_contents(folder: str) -> _Contents:
    entries = list_entries(folder)
    folders = [entry.name for entry in entries if entry.is_folder]
    classes = {name: wnid for name in folders if (wnid := parse_class_folder(name))}
    files = [entry.name for entry in entries if not entry.is_folder]
    return _Contents(
        classes=list(classes.items()),
        images=[name for name in files if is_image_name(name)],
        folders=[n for n in folders if n not in classes and not n.startswith(".")],
        files=[
            name
            for name in files
            if not (
                name.startswith(".") or is_image_name(name) or parse_class_tar(name)
            )
        ],
    )


def _is_flat_validation(contents: _Contents, stated: str) -> bool:
    """Return whether the images directly in a folder are validation images.

    Args:
      contents: the names in the folder.
      stated: split that the folder's name states; "" for none.
    """
    officials = [splits.find_official_split(name) for name in contents.images]
    if stated == splits.VALIDATION:
        return bool(officials)
    is_named = officials.count(splits.VALIDATION) * 2 > len(officials)
    return is_named and not contents.classes


def _list_split_folders(contents: _Contents, stated: str) -> Sequence[str]:
    """Return the subfolders to search for the class folders of a split."""
    named = [name for name in contents.folders if splits.parse_split(name)]
    is_only = bool(stated) and len(contents.folders) == 1 and not contents.classes
    return contents.folders if is_only else named


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images, skipped files and observations of one folder.

    The subfolder `images` of a class folder is read too.
    """
    yield from _read_folder(piece, piece.path, piece.uri)


def _read_folder(piece: InputPart, path: str, uri: str) -> Iterator[PartItem]:
    for entry in list_all(path):
        inside = entry.name if uri == "." else f"{uri}/{entry.name}"
        if not entry.is_folder:
            location = ByteRange(0, entry.num_bytes)
            yield make_ref(piece, entry.name, uri=inside, location=location)
        elif piece.wnid and uri == piece.uri and entry.name.lower() == _INSIDE_CLASS:
            yield from _read_folder(piece, f"{path}/{entry.name}", inside)
        elif piece.wnid or not parse_class_folder(entry.name):
            num_images = 0
            if piece.wnid and not _is_hidden(entry.name):
                num_images = _count_images(f"{path}/{entry.name}")
            if num_images:
                example = f"{inside} has {num_images:,}"
                yield Observation("deeper", example, num_images)
            else:
                yield SkippedFile(inside, f"{entry.name}/")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or is_system_file(name)


def _count_images(path: str, depth: int = 1) -> int:
    """Count the images in a folder and its subfolders, without hidden ones."""
    try:
        entries = [e for e in list_entries(path) if not e.name.startswith(".")]
    except UsageError:
        return 0
    num_images = sum(not e.is_folder and is_image_name(e.name) for e in entries)
    if depth < _MAX_DEPTH_INSIDE_CLASS:
        folders = [f"{path}/{entry.name}" for entry in entries if entry.is_folder]
        num_images += sum(_count_images(folder, depth + 1) for folder in folders)
    return num_images
