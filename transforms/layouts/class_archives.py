"""Read class archives nXXXXXXXX.tar, the members of the official training archive."""

from collections.abc import Iterator

from transforms import splits, storage
from transforms.layouts import (
    FoundParts,
    InputPart,
    PartItem,
    list_entries,
    official_archives,
    parse_class_tar,
)

LOOKED_FOR = "nXXXXXXXX.tar"
READS_HEADERS = True


def find(path: str) -> FoundParts | None:
    """Find class archives in a folder and its split folders, or a single archive."""
    if storage.is_folder(path):
        root, _, name = path, "", path.rpartition("/")[2]
        pieces = _find_archives(root, ".", splits.parse_split(name))
        for entry in list_entries(path):
            split = splits.parse_split(entry.name)
            if entry.is_folder and split in splits.FLAGS:
                pieces += _find_archives(root, entry.name, split)
    else:
        root, _, name = path.rpartition("/")
        pieces = []
        if wnid := parse_class_tar(name):
            size = storage.num_bytes(path)
            pieces = [_make_part(root, name, wnid, size, container="", split="")]
    if not pieces:
        return None
    folders = " and ".join(dict.fromkeys(piece.place for piece in pieces))
    if not storage.is_folder(path):
        folders = root
    return FoundParts(
        description=f"class archives ({len(pieces)} in {folders})",
        pieces=tuple(pieces),
    )


def _find_archives(root: str, container: str, split: str) -> list[InputPart]:
    """Return the class archives of a folder as parts.

    Args:
      root: folder of the input.
      container: the folder, relative to `root`; "." is the root itself.
      split: split of the images; "" if unknown.
    """
    folder, prefix = root, ""
    if container != ".":
        folder, prefix = f"{root}/{container}", f"{container}/"
    return [
        _make_part(
            root,
            f"{prefix}{entry.name}",
            wnid,
            entry.num_bytes,
            container=container,
            split=split,
        )
        for entry in list_entries(folder)
        if not entry.is_folder and (wnid := parse_class_tar(entry.name))
    ]


def _make_part(
    root: str, uri: str, wnid: str, num_bytes: int, *, container: str, split: str
) -> InputPart:
    return InputPart(
        layout="class_archives",
        root=root,
        uri=uri,
        container=container,
        split=split,
        wnid=wnid,
        length=num_bytes,
    )


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images, skipped files and observations of one class archive."""
    return official_archives.read(piece)
