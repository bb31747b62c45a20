"""Official archives, unextracted: a tar of class tars, and a flat validation tar."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from transforms import storage
from transforms.archives import tar, tar_headers
from transforms.layouts import IMAGE_SUFFIXES, WNID, FoundParts, InputPart, make_ref
from transforms.records import ImageRef, SkippedFile, UsageError

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
LOOKED_FOR = f"{TRAIN} and {VALIDATION}"
READS_HEADERS = True
SPLIT_NAME = re.compile(r"ILSVRC2012_img_(train|val)\.tar", re.IGNORECASE)


def find(path: str) -> FoundParts | None:
    """Recognise a folder by the archives' names, or one archive by its content."""
    if storage.is_folder(path):
        names = {e.name for e in storage.list_folder(path) if not e.is_folder}
        files = [f"{path}/{name}" for name in (TRAIN, VALIDATION) if name in names]
    else:
        files = [path] if path.endswith(".tar") else []
    pieces: list[InputPart] = []
    for file in files:
        pieces += _class_pieces(file) if _holds_class_tars(file) else _flat_pieces(file)
    if not pieces:
        return None
    shown = " and ".join(sorted({piece.uri for piece in pieces}))
    return FoundParts(description=f"official archives ({shown})", pieces=tuple(pieces))


def read(piece: InputPart) -> Iterator[ImageRef | SkippedFile]:
    """Yield the images of one class tar inside the training tar, or of a flat tar."""
    end = piece.offset + piece.length
    for member in tar_headers.read_members(piece.path, start=piece.offset, end=end):
        if member.is_file:
            yield make_ref(
                piece,
                member.name,
                uri=piece.uri,
                offset=member.offset,
                length=member.length,
            )
        elif not member.name.endswith("/"):
            yield SkippedFile(piece.uri, member.name)


def _holds_class_tars(file: str) -> bool:
    files = (member for member in tar.read_members(file) if member.is_file)
    first = next(files, None)
    return first is not None and first.name.endswith(".tar")


def _class_pieces(file: str) -> Iterator[InputPart]:
    """Yield one part per class tar: a thousand headers, and none is an image's."""
    root, _, uri = file.rpartition("/")
    for member in tar.read_members(file):
        if member.name.endswith("/"):
            continue
        name = PurePosixPath(member.name)
        if name.suffix != ".tar" or not WNID.fullmatch(name.stem):
            raise UsageError(
                f"{file}: {member.name!r} is not a class archive (nXXXXXXXX.tar); "
                "is this the training archive of ILSVRC2012?"
            )
        yield InputPart(
            layout="official_archives",
            root=root,
            uri=uri,
            split="train",
            wnid=name.stem,
            offset=member.offset,
            length=member.length,
        )


def _flat_pieces(file: str) -> Iterator[InputPart]:
    """Yield a flat archive of images as a validation part; class tars are not flat."""
    root, _, uri = file.rpartition("/")
    names = (PurePosixPath(m.name) for m in islice(tar.read_members(file), 8))
    is_flat = any(name.suffix.lower() in IMAGE_SUFFIXES for name in names)
    if is_flat and not WNID.fullmatch(uri.removesuffix(".tar")):
        yield InputPart(
            layout="official_archives",
            root=root,
            uri=uri,
            split="validation",
            length=storage.num_bytes(file),
        )
