"""Find and read the parts of an input: one module per layout of raw ImageNet.

A module offers:

- `find(path) -> FoundParts | None`: the parts of an input; None: another layout.
- `read(part) -> Iterator[ImageRef | SkippedFile]`: the files of one part.
- `LOOKED_FOR`: the file names by which it recognises an input, for the message that
  nothing was found.

Optional:

- `SPLIT_NAME`: a compiled pattern of files that must be read, since their names say
  that they hold a split. Default: None.
- `READS_HEADERS`: `read` reads a header of each image. Default: False.
"""

import importlib
import pkgutil
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from transforms.records import ImageRef, SkippedFile, UsageError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
WNID = re.compile(r"n\d{8}")
# What stands in the names of shards → the split; our own folds are training images.
SPLIT_OF = {
    "train": "train",
    "fold_a": "train",
    "fold_b": "train",
    "val": "validation",
    "validation": "validation",
}
# What readers of WebDataset take for one sample's key: no dot, no `__x__`; and short
# enough for the 100-byte name field of a tar header with the longest suffix.
KEY_PATTERN = r"^(_?[A-Za-z0-9-]|_$)[A-Za-z0-9_-]{0,89}$"
_KEY = re.compile(KEY_PATTERN)


@dataclass(frozen=True, kw_only=True)
class InputPart:
    """An archive or folder of an input, which is read at once."""

    layout: str  # the module of `transforms.layouts` that reads it
    root: str  # the input's folder
    uri: str  # relative to root; "." is the root itself
    split: str  # train | validation
    wnid: str = ""  # "": each image has its own, or is to be labelled
    is_labelled: bool = False  # the images come with their wnids
    offset: int = 0
    length: int = 0  # of an archive inside an archive, or a part of a directory
    input: int = 0
    labels: str = ""  # path of the validation labels; "": the official table

    @property
    def needs_labels(self) -> bool:
        """Whether labels must be joined to the images."""
        return not (self.wnid or self.is_labelled)

    @property
    def path(self) -> str:
        """The path of the file or folder."""
        return f"{self.root}/{self.uri}"

    def child(self, name: str) -> str:
        """Return the uri of a file in this folder."""
        return name if self.uri == "." else f"{self.uri}/{name}"


@dataclass(frozen=True, kw_only=True)
class FoundParts:
    """The parts that a layout recognised in an input."""

    description: str
    pieces: tuple[InputPart, ...]
    notes: tuple[str, ...] = ()


def make_ref(
    piece: InputPart,
    name: str,
    *,
    uri: str,
    offset: int,
    length: int,
    wnid: str = "",
    encoding: str = "raw",
) -> ImageRef | SkippedFile:
    """Make a file of a piece an image, or a stray when its name is not an image's.

    Args:
      piece: what holds it.
      name: of the file; its stem becomes the key.
      uri: where its bytes lie, relative to the input.
      offset: of the bytes there, or the number of a row group.
      length: of the bytes there, or the number of a row.
      wnid: the image's own, where the piece has none for all.
      encoding: raw | deflate | parquet.
    Raises: UsageError: the name cannot be a key of the written dataset.
    """
    file = name.rpartition("/")[2]  # paths of pathlib would double the time
    stem, _, suffix = file.rpartition(".")
    if not stem or f".{suffix.lower()}" not in IMAGE_SUFFIXES or file[0] == ".":
        return SkippedFile(uri, name)
    if not _KEY.fullmatch(stem):
        raise UsageError(
            f"{piece.path}: the image name {file!r} cannot be a key "
            "(letters, digits, - and _ only, at most 90); rename the file"
        )
    return ImageRef(
        stem,
        piece.wnid or wnid,
        piece.split,
        piece.input,
        uri,
        offset,
        length,
        encoding,
    )


class ShardName(NamedTuple):
    """The parts of a shard's file name."""

    split: str
    number: int
    num_shards: int  # 0: it does not tell


def describe_missing(path: str, names: Collection[ShardName]) -> Iterator[str]:
    """Describe splits without labels, and missing shards.

    Raises:
      UsageError: the shards belong to several datasets.
    """
    for split in sorted({name.split for name in names}):
        if split not in SPLIT_OF:
            yield f"{path}: the files of {split} are left out"
            continue
        own = [name for name in names if name.split == split]
        totals = sorted({name.num_shards for name in own})
        if len(totals) > 1 or (totals[0] and len({n.number for n in own}) < len(own)):
            raise UsageError(
                f"the files of {split} are of several datasets, or of several versions "
                f"of one (some say -of-{totals[0]:05d}, some -of-{totals[-1]:05d}, or "
                "two have one number); leave those of one there"
            )
        total = totals[-1]
        if missing := sorted(set(range(total)) - {name.number for name in own}):
            yield (
                f"{path}: {len(missing)} of {total} files of {split} are not there "
                f"(the first is number {missing[0]})"
            )


LAYOUTS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one layout."""
    return importlib.import_module(f"{__name__}.{name}")


def list_looked_for() -> tuple[str, ...]:
    """Return what each layout looks for."""
    return tuple(load(name).LOOKED_FOR for name in LAYOUTS)


def is_split_file(file_name: str) -> bool:
    """Tell whether a file's name says that it holds a split."""
    patterns = (getattr(load(name), "SPLIT_NAME", None) for name in LAYOUTS)
    return any(pattern and pattern.fullmatch(file_name) for pattern in patterns)
