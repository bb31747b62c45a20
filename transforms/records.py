"""The elements that flow through the pipeline, and the errors that stop it.

Records are named tuples: immutable, and four times cheaper to make than frozen
dataclasses, which counts at 1.28 million. No record holds the bytes of an image but
`Record`, which lives inside one step only.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

JSON: TypeAlias = (
    "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
)


def to_json(value: JSON) -> bytes:
    """Write JSON for people and programs: indented, keys sorted, names as they are."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()


SHOWN = 10  # names or lines in a message; the others are counted


class ImageRef(NamedTuple):
    """An image without its bytes: what it is and where it lies."""

    key: str  # the original stem, e.g. n01440764_10026
    wnid: str  # "" until a flat validation image has been labelled
    split: str  # train | validation
    input: int  # position in the list of inputs
    uri: str  # file relative to its input
    offset: int  # of the bytes in that file
    length: int
    encoding: str  # raw | deflate | parquet


class SkippedFile(NamedTuple):
    """A file among the images that is none, so that nothing is passed over unsaid."""

    uri: str
    name: str


class SelectedImage(NamedTuple):
    """An image of the subset."""

    split: str
    label: int
    ref: ImageRef


class ImageClass(NamedTuple):
    """A class that the input holds, as groupings see it."""

    wnid: str
    class_index: int  # rank of the wnid among the 1000, -1 outside
    name: str  # display name, unique
    num_train: int
    num_validation: int


class Record(NamedTuple):
    """One image as it is written: finished bytes and all labels."""

    key: str
    image: bytes  # a JPEG file
    label: int
    fine_label: int
    wnid: str

    @property
    def file_name(self) -> str:
        """The original file's name, as readers report it."""
        return f"{self.key}.JPEG"


class ImageLocation(NamedTuple):
    """Where an image's bytes lie in the written dataset."""

    file: str  # relative to the dataset's directory
    offset: int
    length: int


class WrittenFile(NamedTuple):
    """A file of the dataset, as it was written."""

    path: str  # relative to the dataset's directory
    num_bytes: int
    sha256: str


class Shard(NamedTuple):
    """One part of a split: the unit of work and of every format's files."""

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
    """What the user can mend: flags, tables, inputs, output in the way. Exit code 2."""


class JobError(Exception):
    """The job could not be done. Exit code 1."""


class DataError(Exception):
    """One image cannot be used; it becomes a Failure."""


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
      shown: how many lines to return.
      more: the last line, with {} in place of the number of the others.
    """
    rest = iter(lines)
    kept = list(islice(rest, shown))
    num_others = sum(1 for _ in rest)
    return [*kept, more.format(num_others)] if num_others else kept
