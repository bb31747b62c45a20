"""Load the official validation labels, and read tables in Kaggle's format."""

import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

import numpy as np

from transforms import csv_tables, storage
from transforms.archives import zips
from transforms.csv_tables import CsvError, Row
from transforms.labels import classes, image_names
from transforms.records import UsageError, cut_lines

KAGGLE_TABLE = "LOC_val_solution.csv"
NUM_OFFICIAL = 50_000
STEM = "ILSVRC2012_val_"
_COLUMNS = ("ImageId", "PredictionString")
_REMEDY = (
    f"give Kaggle's {KAGGLE_TABLE} or a table like it, with the header "
    f"{','.join(_COLUMNS)}"
)


@cache
def official_labels() -> dict[str, str]:
    """Return the wnids of the 50,000 official validation images by file stem."""
    path = resources.files("transforms.labels").joinpath("validation_labels.zlib")
    indices = np.frombuffer(zlib.decompress(path.read_bytes()), dtype="<u2")
    wnids = [info.wnid for info in classes.load_classes()]
    return {
        f"{STEM}{number:08d}": wnids[index]
        for number, index in enumerate(indices.tolist(), start=1)
    }


def are_official_stems(stems: Iterable[str]) -> bool:
    """Return whether the stems are exactly those of the 50,000 official images."""
    names = list(stems)
    return len(names) == NUM_OFFICIAL and set(names) == official_labels().keys()


def read_labels(path: str) -> dict[str, str]:
    """Read a table in the format of Kaggle's LOC_val_solution.csv, also inside a zip.

    Args:
      path: path of the table; `archive.zip/member` for a table in a zip.

    Returns:
      The wnid of each image, by file stem.

    Raises:
      UsageError: the file is missing or invalid.
    """
    try:
        data = zips.read(path) if zips.is_inside(path) else storage.read(path)
        text = csv_tables.decode(data)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of validation labels") from None
    except CsvError as error:
        raise UsageError(f"{path}: {error}") from None
    return parse_labels(text, source=path)


def parse_labels(text: str, *, source: str) -> dict[str, str]:
    """Parse a table of validation labels.

    Args:
      text: CSV with the columns ImageId and PredictionString, whose first word is the
        wnid; a BOM and CRLF line ends are accepted.
      source: path of the table, for messages.

    Returns:
      The wnid of each image, by file stem.

    Raises:
      UsageError: the table is invalid; the message lists the first ten problems.
    """
    labels: dict[str, str] = {}
    rows = csv_tables.parse_rows(text.removeprefix("\ufeff"), is_strict=False)
    try:
        problems = list(_fill(labels, rows))
    except CsvError as error:  # e.g. a quote that is never closed
        problems = [f"{error.line}: {error.reason}; {_REMEDY}"]
    if problems:
        lines = (f"{source}:{problem}" for problem in problems)
        more = f"{source}: and {{}} more problems"
        raise UsageError("\n".join(cut_lines(lines, more=more)))
    return labels


def _fill(labels: dict[str, str], rows: Iterator[Row]) -> Iterator[str]:
    """Add the labels in the rows to `labels`; yield each problem as "LINE: TEXT"."""
    first = next(rows, None)
    header = [] if first is None else first.cells
    if header != list(_COLUMNS):
        yield (
            f"1: the header is {','.join(header)[:80]!r}, not {','.join(_COLUMNS)!r}; "
            f"{_REMEDY}"
        )
        return
    first_line: dict[str, int] = {}
    for line, row, _ in rows:
        if not row:
            continue
        stem, words = image_names.to_key(row[0]), row[-1].split()
        if len(row) != len(_COLUMNS) or not stem or not words:
            yield f"{line}: is {','.join(row)[:80]!r}, not an image and its wnid"
        elif not classes.is_wnid(words[0]):
            yield f"{line}: {words[0][:40]!r} is not a wnid (n and 8 digits)"
        elif labels.setdefault(stem, words[0]) != words[0]:
            yield (
                f"{line}: {stem} is {words[0]} here and {labels[stem]} in line "
                f"{first_line[stem]}; keep one"
            )
        else:
            first_line.setdefault(stem, line)
    if not first_line:
        yield "1: holds no labels"
