"""Find and read the parts of an input: one module per layout of raw ImageNet.

A module offers:

- `find(path) -> FoundParts | None`: the parts of an input; None: another layout.
- `read(part) -> Iterator[PartItem]`: the files of one part, and what is odd about them.
- `LOOKED_FOR`: the file names by which it recognises an input, for the message that
  nothing was found.

Optional:

- `SPLIT_NAME`: a compiled pattern of files that must be read, since their names say
  that they hold a split. Default: None.
"""

import importlib
import pkgutil
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, TypeAlias

from transforms.input_warnings import InputWarning, Observation
from transforms.labels import image_names
from transforms.labels.image_names import NumberLabels
from transforms.records import ImageRef, SkippedFile, UsageError

IMAGE_SUFFIXES = image_names.IMAGE_SUFFIXES
WNID = re.compile(r"n\d{8}")
# Name of the split in shard names → split; the program's folds are training images.
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


class MisplacedImage(NamedTuple):
    """An image whose name says another class than its folder or archive."""

    ref: ImageRef  # with the class of the name
    name: str  # of the file
    place_wnid: str


PartItem: TypeAlias = (
    ImageRef | MisplacedImage | SkippedFile | Observation | NumberLabels
)


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
    class_list: str = ""  # path of the classes of labels 0, 1, …; "": none given

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
    """The parts that a layout recognised in an input.

    Attributes:
      description: description of the input, for the user.
      pieces: the parts.
      notes: inputs that are ignored on purpose, for the user.
      warnings: missing images and doubtful labels; datasets record them.
    """

    description: str
    pieces: tuple[InputPart, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[InputWarning, ...] = ()


def make_ref(
    piece: InputPart,
    name: str,
    *,
    uri: str,
    offset: int,
    length: int,
    wnid: str = "",
    encoding: str = "raw",
) -> ImageRef | MisplacedImage | SkippedFile | Observation:
    """Convert a file of a part to an image, or to a stray if it has another suffix.

    Args:
      piece: part that contains the file.
      name: file name; it gives the key.
      uri: file that contains its bytes, relative to the input.
      offset: offset of the bytes in that file, or the number of a row group.
      length: number of bytes, or the number of a row.
      wnid: class of the image, if the part has none for all images.
      encoding: raw | deflate | parquet.

    Returns:
      An observation if the name cannot be a key of the written dataset.
    """
    if "\\" in name:
        name = name.replace("\\", "/")
    file = name.rpartition("/")[2]  # paths of pathlib would double the time
    place = piece.wnid or wnid
    if usual := image_names.USUAL.fullmatch(file):
        key, by_name = usual.groups()
    else:
        stem, _, suffix = file.rpartition(".")
        if not stem or f".{suffix.lower()}" not in IMAGE_SUFFIXES or file[0] == ".":
            return SkippedFile(uri, name)
        key, by_name = image_names.parse(file)
        if not _KEY.fullmatch(key):
            return Observation("no_key", f"{file!r:.120} in {place or uri}")
    ref = ImageRef(
        key,
        by_name or place,
        piece.split,
        piece.input,
        uri,
        offset,
        length,
        encoding,
    )
    if place and by_name and by_name != place:
        return MisplacedImage(ref, file, place)
    return ref


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
    """Return whether a file's name says that it holds a split."""
    patterns = (getattr(load(name), "SPLIT_NAME", None) for name in LAYOUTS)
    return any(pattern and pattern.fullmatch(file_name) for pattern in patterns)
