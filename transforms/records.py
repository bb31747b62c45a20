"""Elements of the pipelines, errors, and lists in messages.

Records are named tuples: immutable, and four times cheaper to create than frozen
dataclasses, which matters for 1.28 million images. Only `Record` holds the bytes of an
image, and it never leaves its step.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

JSON: TypeAlias = (
    "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
)


def to_json(value: JSON) -> bytes:
    """Encode JSON: indented, with sorted keys and unescaped Unicode."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()


SHOWN = 10  # names or lines in a message; the others are counted


class ImageRef(NamedTuple):
    """An image without its bytes: its identity and location."""

    key: str  # the original stem, e.g. n01440764_10026
    wnid: str  # "" until a flat validation image has been labelled
    split: str  # train | validation
    input: int  # position in the list of inputs
    uri: str  # file relative to its input
    offset: int  # of the bytes in that file
    length: int
    encoding: str  # raw | deflate | parquet


class SkippedFile(NamedTuple):
    """A file that is not an image and is skipped; it is reported."""

    uri: str
    name: str


class SelectedImage(NamedTuple):
    """An image of the subset."""

    split: str
    label: int
    ref: ImageRef


class ImageClass(NamedTuple):
    """A class of the input, with its image counts."""

    wnid: str
    class_index: int  # rank of the wnid among the 1000, -1 outside
    name: str  # display name, unique
    num_train: int
    num_validation: int


class Record(NamedTuple):
    """An image to write: finished bytes and all labels."""

    key: str
    image: bytes  # a JPEG file
    label: int
    fine_label: int
    wnid: str

    @property
    def file_name(self) -> str:
        """The original file name, as readers report it."""
        return f"{self.key}.JPEG"


class ImageLocation(NamedTuple):
    """Location of an image's bytes in the written dataset."""

    file: str  # relative to the dataset's directory
    offset: int
    length: int


class WrittenFile(NamedTuple):
    """A written file of the dataset."""

    path: str  # relative to the dataset's directory
    num_bytes: int
    sha256: str


class Shard(NamedTuple):
    """A part of a split: the unit of work; most formats write one file for it."""

    split: str
    number: int
    num_shards: int

    def __str__(self) -> str:
        return f"{self.split}-{self.number:05d}-of-{self.num_shards:05d}"


class Failure(NamedTuple):
    """An image that could not be used: a row of failures.csv."""

    key: str
    split: str
    label: int
    wnid: str
    place: str  # uri and offset
    reason: str


class UsageError(Exception):
    """An error that the user can fix: flags, tables, inputs, output. Exit code 2."""


class JobError(Exception):
    """The job failed. Exit code 1."""


class DataError(Exception):
    """An image cannot be used; it becomes a `Failure`."""


def list_names(names: Iterable[object], shown: int = SHOWN) -> str:
    """Join names with commas and count those after the first ("a, b and 7 more")."""
    rest = map(str, names)
    text = ", ".join(islice(rest, shown))
    num_others = sum(1 for _ in rest)
    return f"{text} and {num_others} more" if num_others else text


def cut_lines(
    lines: Iterable[str], shown: int = SHOWN, *, more: str = "and {} more"
) -> list[str]:
    """Return the first lines and, if there are others, a line that counts them.

    Args:
      lines: any number of lines.
      shown: maximum number of lines.
      more: the last line, with {} in place of the number of the others.
    """
    rest = iter(lines)
    kept = list(islice(rest, shown))
    num_others = sum(1 for _ in rest)
    return [*kept, more.format(num_others)] if num_others else kept
