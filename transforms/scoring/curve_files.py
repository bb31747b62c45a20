"""Files of curves → their rows, with everything that is wrong in them."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from transforms import storage
from transforms.records import UsageError
from transforms.tables.curves import CurveRow

CURVES = "curves.csv"
_MAX_BYTES = 100_000_000  # a hundred models over ten thousand epochs
_MAX_FILES = 10_000
_MAX_COUNT = 10**12
_SHOWN = 5
_OPTIONAL: Mapping[str, str] = {
    "dataset": "",
    "seed": "0",
    "learning_rate": "0",
    "seconds": "0",
}
_REQUIRED = tuple(name for name in CurveRow._fields if name not in _OPTIONAL)
_LEAST = {
    "seed": -_MAX_COUNT,
    "epoch": 1,
    "epochs": 1,
    "train_images": 1,
    "validation_images": 1,
}


class FoundRow(NamedTuple):
    """A row, and the file it stands in."""

    row: CurveRow
    path: str


def read_rows(paths: Sequence[str]) -> list[FoundRow]:
    """Read all rows of some curves.

    Args: paths: files, or folders, of which every curves.csv below counts.
    Raises: UsageError: all that is wrong, a line each that starts with the path.
    """
    found: list[FoundRow] = []
    problems: list[str] = []
    for path in dict.fromkeys(_find_all(paths, problems)):
        try:
            rows, wrong = parse(_read(path))
        except UsageError as error:
            problems.append(f"{path}: {error}")
            continue
        found += [FoundRow(row, path) for row in rows]
        problems += [f"{path}: {text}" for text in _shorten(wrong)]
    if problems:
        raise UsageError("\n".join(problems))
    return found


def _find_all(paths: Iterable[str], problems: list[str]) -> Iterator[str]:
    for path in paths:
        if not storage.is_folder(path):
            yield path
            continue
        below = [
            f"{path.rstrip('/')}/{name}"
            for name in storage.list_files(path)
            if PurePath(name).name == CURVES
        ]
        if not below:
            problems.append(
                f"{path}: no {CURVES} lies below this folder; name the --output of "
                "python -m pipelines.train, or a file"
            )
        if len(below) > _MAX_FILES:
            problems.append(f"{path}: has {len(below)} files, of {_MAX_FILES} at most")
            continue
        yield from below


def _read(path: str) -> str:
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(f"is larger than {_MAX_BYTES // 10**6} MB; split it")
        return storage.read(path).decode("utf-8-sig")
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise UsageError(f"{what}; name a {CURVES}, or a folder above some") from None
    except UnicodeDecodeError:
        raise UsageError("is not text; save it as CSV in UTF-8") from None


def _shorten(problems: Sequence[str]) -> Iterator[str]:
    yield from problems[:_SHOWN]
    if len(problems) > _SHOWN:
        yield f"and {len(problems) - _SHOWN} lines more that are wrong"


def parse(text: str) -> tuple[list[CurveRow], list[str]]:
    """Parse a table of curves; its columns may stand in any order.

    Returns: The rows that are right, and what is wrong with the others.
    Raises: UsageError: it is no such table.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[CurveRow] = []
    problems: list[str] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if not any(cells):
                continue
            line = reader.line_num
            if len(cells) != len(header):
                problems.append(
                    f"line {line} has {len(cells)} fields, the header {len(header)}"
                )
                continue
            try:
                rows.append(_to_row(dict(zip(header, map(str.strip, cells)))))  # noqa: B905  # equally long, as checked above
            except ValueError as error:
                problems.append(f"line {line}: {error}")
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num}: {error}; check the quotes") from None
    if not rows and not problems:
        raise UsageError("has a header and no rows; let the training go on")
    return rows, problems


def _check_header(header: Sequence[str]) -> None:
    if missing := [name for name in _REQUIRED if name not in header]:
        raise UsageError(
            f"has no column {', '.join(missing)}; a table of curves has the columns "
            f"{', '.join(CurveRow._fields)}, of which {', '.join(_OPTIONAL)} may be "
            "left out"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UsageError(f"has the column {twice[0]} twice; keep one")


def _to_row(cells: Mapping[str, str]) -> CurveRow:
    """Make a row of texts.

    Raises: ValueError: what is wrong with it.
    """
    values: dict[str, str | int | float] = {}
    for name, kind in CurveRow.__annotations__.items():
        text = cells.get(name, _OPTIONAL.get(name, ""))
        if kind is int:
            values[name] = _to_count(name, text)
        elif kind is float:
            values[name] = _to_number(name, text)
        elif text or name in _OPTIONAL:
            values[name] = text
        else:
            raise ValueError(f"{name} is empty")
    row = CurveRow(**values)  # type: ignore[arg-type]  # each is of its field's kind
    if row.epoch > row.epochs:
        raise ValueError(f"epoch {row.epoch} lies behind the last, {row.epochs}")
    if row.validation_accuracy > 1:
        raise ValueError(
            f"validation_accuracy {row.validation_accuracy:g} is above 1; accuracies "
            "are shares, so divide those in percent by 100"
        )
    if row.validation_accuracy < 0:
        raise ValueError(f"validation_accuracy {row.validation_accuracy:g} is below 0")
    return row


def _to_count(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{name} {text!r:.30} is not a whole number") from None
    if not _LEAST[name] <= number <= _MAX_COUNT:
        raise ValueError(f"{name} {number} is not {_LEAST[name]} to {_MAX_COUNT}")
    return number


def _to_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r:.30} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} {text!r:.30} is not finite")
    return number
