"""Pieces: the archives and folders an input is read by, and the refs made of them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from transforms.records import ImageRef, Stray, UsageError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
WNID = re.compile(r"n\d{8}")
# What readers of WebDataset take for one sample's key: no dot, no `__x__`; and short
# enough for the 100-byte name field of a tar header with the longest suffix.
KEY_PATTERN = r"^(_?[A-Za-z0-9-]|_$)[A-Za-z0-9_-]{0,89}$"
_KEY = re.compile(KEY_PATTERN)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One archive or folder of an input, read in one go."""

    layout: str  # the module of `transforms.layouts` that reads it
    root: str  # the input's folder
    uri: str  # relative to root; "." is the root itself
    split: str  # train | validation
    wnid: str = ""  # "": each image is to be labelled
    offset: int = 0
    length: int = 0  # of an archive inside an archive
    input: int = 0
    labels: str = ""  # path of the validation labels; "": the official table

    @property
    def path(self) -> str:
        """The path of the file or folder."""
        return f"{self.root}/{self.uri}"

    def child(self, name: str) -> str:
        """Return the uri of a file in this folder."""
        return name if self.uri == "." else f"{self.uri}/{name}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a layout recognised in an input."""

    description: str
    pieces: tuple[Piece, ...]
    notes: tuple[str, ...] = ()


def make_ref(
    piece: Piece, name: str, *, uri: str, offset: int, length: int
) -> ImageRef | Stray:
    """Make a file of a piece an image, or a stray when its name is not an image's.

    Raises: UsageError: the name cannot be a key of the written dataset.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
        return Stray(uri, name)
    if not _KEY.fullmatch(path.stem):
        raise UsageError(
            f"{piece.path}: the image name {path.name!r} cannot be a key "
            "(letters, digits, - and _ only, at most 90); rename the file"
        )
    return ImageRef(
        path.stem, piece.wnid, piece.split, piece.input, uri, offset, length, "raw"
    )
