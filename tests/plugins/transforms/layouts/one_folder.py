"""One folder per split, one_folder_train/ and one_folder_validation/; names by wnid."""

from transforms import storage
from transforms.layouts import FoundParts, InputPart, make_ref
from transforms.records import ByteRange

LOOKED_FOR = "one_folder_train/nXXXXXXXX*.JPEG"
_PREFIX = "one_folder_"


def find(path):
    names = [entry.name for entry in storage.list_folder(path) if entry.is_folder]
    pieces = tuple(
        InputPart(
            layout="one_folder",
            root=path,
            uri=name,
            split=name.removeprefix(_PREFIX),
            is_labelled=True,
        )
        for name in names
        if name.startswith(_PREFIX)
    )
    return (
        FoundParts(description="one folder a split", pieces=pieces) if pieces else None
    )


def read(piece):
    for entry in storage.list_folder(piece.path):
        yield make_ref(
            piece,
            entry.name,
            uri=piece.child(entry.name),
            location=ByteRange(0, entry.num_bytes),
            wnid=entry.name[:9],
        )
