"""Define pipeline elements and errors, write JSON, and format lists for messages.

The elements are named tuples: immutable, and four times faster to create than frozen
dataclasses, which matters for 1.28 million images. Only `Record` contains the bytes of
an image, and it is never passed from one Beam step to another.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

JSON: TypeAlias = (
    "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
)


def to_json(value: JSON) -> bytes:
    """Serialise a value to indented JSON with sorted keys and unescaped Unicode."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()


SHOWN = 10  # names or lines in a message; the others are counted


class ByteRange(NamedTuple):
    """A range of bytes of a file."""

    offset: int
    length: int
    encoding: str = "raw"  # raw | deflate | riegeli


class ParquetRow(NamedTuple):
    """A row of a Parquet file; both numbers count from 0."""

    row_group: int
    row: int  # in the row group


Location: TypeAlias = ByteRange | ParquetRow


class ImageRef(NamedTuple):
    """A reference to an input image: its identity and the location of its bytes."""

    key: str  # the original stem, e.g. n01440764_10026
    wnid: str  # "" until a flat validation image has been labelled
    split: str  # train | validation
    input: int  # position in the list of inputs
    uri: str  # file relative to its input
    location: Location  # in the file


class SkippedFile(NamedTuple):
    """A file or folder of the input that is not read as an image, and is reported."""

    uri: str  # the file or its archive, relative to the input
    name: str  # of the file


class SelectedImage(NamedTuple):
    """An image that was selected for the subset, with its output split and label."""

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
    """An image that is ready to be written: its final JPEG bytes and all labels."""

    key: str
    image: bytes  # a JPEG file
    label: int  # of the group
    fine_label: int  # rank of the wnid among the 1000, -1 outside
    wnid: str

    @property
    def file_name(self) -> str:
        """The original file name, which is also stored in the dataset."""
        return f"{self.key}.JPEG"


class ImageLocation(NamedTuple):
    """The location of an image's bytes in the written dataset."""

    file: str  # relative to the dataset's folder
    offset: int
    length: int


class WrittenFile(NamedTuple):
    """A file of the written dataset, with its size and checksum."""

    path: str  # relative to the dataset's folder
    num_bytes: int
    sha256: str


class Shard(NamedTuple):
    """A part of a split and the unit of work; most formats write one file per shard."""

    split: str
    number: int
    num_shards: int

    def __str__(self) -> str:
        return f"{self.split}-{self.number:05d}-of-{self.num_shards:05d}"


class Failure(NamedTuple):
    """A row of failures.csv: an image that could not be used, and the reason."""

    key: str
    split: str
    label: int
    wnid: str
    place: str  # uri and offset
    reason: str


class UsageError(Exception):
    """Raised for problems the user can fix, e.g. in flags or inputs; exit code 2."""


class JobError(Exception):
    """Raised when a job fails while it runs; exit code 1."""


class DataError(Exception):
    """Raised when an image cannot be used; the job records it as a `Failure`."""


_T = TypeVar("_T")


def check_all_arrived(
    arrived: Iterable[_T], planned: Iterable[_T], *, what: str, remedy: str
) -> None:
    """Check that the engine passed on every planned element exactly once.

    Args:
      arrived: elements that reached the step which gathers them.
      planned: elements that the job started with.
      what: plural noun for the elements, for the message.
      remedy: last line of the message.

    Raises:
      JobError: elements are missing or repeated.
    """
    expected, actual = Counter(planned), Counter(arrived)
    if actual == expected:
        return
    wrong = {"lost": expected - actual, "repeated": actual - expected}
    lines = [
        f"the engine {verb} {counts.total()} of {expected.total()} {what}: "
        f"{list_names(counts.elements())}"
        for verb, counts in wrong.items()
        if counts
    ]
    raise JobError("\n".join([*lines, remedy]))


def list_names(names: Iterable[object], shown: int = SHOWN) -> str:
    """Join the first `shown` names and count the others, e.g. "a, b and 7 more"."""
    rest = map(str, names)
    text = ", ".join(islice(rest, shown))
    num_others = sum(1 for _ in rest)
    return f"{text} and {num_others} more" if num_others else text


def describe_count(number: int, noun: str) -> str:
    """Format a number and a regular noun, e.g. "1 class" or "2,000 images"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def format_percent(value: float | None, digits: int = 1) -> str:
    """Format a share (0 to 1) as a percentage, e.g. "12.5 %"; None is "-"."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def format_fraction(value: float | None, digits: int = 3) -> str:
    """Format a number with a fixed number of decimals, e.g. "−0.250"; None is "-"."""
    if value is None:
        return "-"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def describe_bytes(num_bytes: float) -> str:
    """Format a size in GB, or in MB below 1 GB, e.g. "0.3 MB"."""
    unit, size = ("GB", 1e9) if num_bytes >= 1e9 else ("MB", 1e6)
    return f"{num_bytes / size:.1f} {unit}"


def cut_lines(
    lines: Iterable[str], shown: int = SHOWN, *, more: str = "and {} more"
) -> list[str]:
    """Return the first `shown` lines, plus a line that counts the rest, if any.

    Args:
      lines: all lines.
      shown: maximum number of lines to keep.
      more: format of the last line; {} is replaced by the number of omitted lines.
    """
    rest = iter(lines)
    kept = list(islice(rest, shown))
    num_others = sum(1 for _ in rest)
    return [*kept, more.format(num_others)] if num_others else kept
