"""Class archives: the training archive extracted once, to a folder of nXXXXXXXX.tar."""

from collections.abc import Iterator

from transforms import storage
from transforms.layouts import WNID, FoundParts, InputPart, official_archives
from transforms.records import ImageRef, SkippedFile

_SUFFIX = ".tar"
LOOKED_FOR = "nXXXXXXXX.tar"
READS_HEADERS = True


def find(path: str) -> FoundParts | None:
    """Recognise a folder of class archives, perhaps in `train/`, or one of them."""
    if storage.is_folder(path):
        root, prefix = path, "train/"
        if not (sizes := _list_archives(path, prefix)):
            prefix = ""
            sizes = _list_archives(path, prefix)
    else:
        root, _, name = path.rpartition("/")
        prefix = ""
        sizes = {name: storage.num_bytes(path)} if _is_archive(name) else {}
    if not sizes:
        return None
    pieces = tuple(
        InputPart(
            layout="class_archives",
            root=root,
            uri=f"{prefix}{name}",
            split="train",
            wnid=name.removesuffix(_SUFFIX),
            length=size,
        )
        for name, size in sizes.items()
    )
    folder = f"{root}/{prefix}".rstrip("/")
    return FoundParts(
        description=f"class archives ({len(pieces)} in {folder})", pieces=pieces
    )


def _list_archives(path: str, prefix: str) -> dict[str, int]:
    """Return the names and sizes of a folder's class archives."""
    folder = f"{path}/{prefix}"
    if not storage.is_folder(folder):
        return {}
    return {
        entry.name: entry.num_bytes
        for entry in storage.list_folder(folder)
        if not entry.is_folder and _is_archive(entry.name)
    }


def _is_archive(name: str) -> bool:
    wnid = name.removesuffix(_SUFFIX)
    return wnid != name and WNID.fullmatch(wnid) is not None


def read(piece: InputPart) -> Iterator[ImageRef | SkippedFile]:
    """Yield the images of one class archive."""
    return official_archives.read(piece)
