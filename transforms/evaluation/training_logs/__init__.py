"""Read learning curves from the logs of training programs, one module per format.

A format module defines:

- `FILE_PATTERNS`: glob patterns of file names, for which folders are searched.
- `read(text, columns) -> TrainingLog | None`: returns the curve in a file, or None if
  the file has another format. Raises UsageError, one problem per line, if the file has
  the format and is damaged or ambiguous.

Optional:

- `name_model(folder) -> str`: returns the model's name, given the name of a log's
  folder, or "" if the parent folder names the model. Default: the folder's name.
- `NAMES_FILES`: whether users choose the files' names. They name the model if a folder
  contains several logs. Default: False.
- `IN_PERCENT`: whether the program always writes accuracies in percent. Default: False;
  the range of the values decides.
- `select(paths) -> list[str]`: drops paths of files whose content others repeat, e.g.
  earlier checkpoints. Default: all files are read.
"""

import importlib
import math
import pkgutil
import re
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

from transforms import csv_tables
from transforms.csv_tables import CsvError, Row
from transforms.records import UsageError, cut_lines, list_names

# Names that users give to the top-1 accuracy on validation images.
_ACCURACY = re.compile(
    r"(val|valid|validation|eval)(?![a-z]).*(acc|accuracy|top[-_@]?1|acc[-_@]?1)(?!\d)"
    r"|(val|valid|validation|eval)acc(uracy)?",
    re.IGNORECASE,
)
_OTHER = re.compile(r"_step$|top[-_@]?(k|[2-9])|acc[-_@]?[2-9]", re.IGNORECASE)
_NOT_EVALUATED = {"", "NA"}
_MAX_EPOCH = 1e9
_REMEDY = "give --accuracy_column"
NAME_COLUMNS = (
    "name the columns of a plain table by --epoch_column and --accuracy_column"
)


class LogColumns(NamedTuple):
    """Names of columns that a user gives; "" lets the format choose."""

    epoch: str = ""
    accuracy: str = ""


ANY_COLUMNS = LogColumns()


class TrainingLog(NamedTuple):
    """The curve in a log of one training run.

    Attributes:
      format: name of the format's module.
      column: column or metric of the accuracies.
      accuracies: accuracies by epoch (from 1), 0 to 1 or in percent, as written.
      epochs: length of the schedule; 0 if the log does not state it.
      validation_images: number of validation images; 0 if the log does not state it.
      notes: messages for the user.
    """

    format: str
    column: str
    accuracies: dict[int, float]
    epochs: int = 0
    validation_images: int = 0
    notes: tuple[str, ...] = ()


FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import the module of a format."""
    return importlib.import_module(f"{__name__}.{name}")


def read_log(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read a log in any format; return None if no format accepts it.

    Raises:
      UsageError: the log is damaged, or several formats accept it.
    """
    logs = [log for name in FORMATS if (log := load(name).read(text, columns))]
    if len(logs) > 1:
        raise UsageError(
            f"is a log of {' or '.join(log.format for log in logs)}; {NAME_COLUMNS}"
        )
    return logs[0] if logs else None


class LogTable(NamedTuple):
    """A CSV log: its header and the rows below."""

    header: list[str]
    rows: Iterator[Row]


def parse_csv(text: str) -> LogTable | None:
    """Parse a CSV log with any usual delimiter; return None for other texts.

    Rows that repeat the header, as continued runs write them, are skipped.
    """
    first = text.split("\n", 1)[0]
    delimiter = max(csv_tables.DELIMITER_NAMES, key=first.count)
    try:
        header, rows = csv_tables.parse_table(text, delimiter=delimiter)
    except CsvError:
        return None
    return LogTable(header, (row for row in rows if row.cells != header))


def choose_column(names: Sequence[str], wanted: str) -> str:
    """Choose the column or metric of validation accuracy.

    Args:
      names: all columns or metrics.
      wanted: name that the user gives, or "".

    Raises:
      UsageError: none or several are possible, or `wanted` does not exist.
    """
    if wanted:
        if names.count(wanted) != 1:
            raise UsageError(
                f"has {names.count(wanted)} columns {wanted}; its columns are "
                f"{', '.join(names)}; {_REMEDY}"
            )
        return wanted
    possible = [n for n in names if _ACCURACY.match(n) and not _OTHER.search(n)]
    if not possible:
        raise UsageError(
            f"has no column of validation accuracy; its columns are "
            f"{', '.join(names)}; log it at the end of each epoch, or {_REMEDY}"
        )
    if len(possible) > 1:
        raise UsageError(
            f"has several columns of validation accuracy, {', '.join(possible)}; "
            f"{_REMEDY} with one of them"
        )
    return possible[0]


def read_table(
    table: LogTable,
    *,
    format_name: str,
    epoch_column: str,
    accuracy_column: str,
    first_epoch: int | None,
    keeps_last: bool = False,
) -> TrainingLog:
    """Read the curve of a CSV log.

    Args:
      table: the log.
      format_name: name of the format's module.
      epoch_column: column of the epochs.
      accuracy_column: column of the accuracies, or "" to choose it by its name.
      first_epoch: number of the first epoch; None accepts 0 and 1.
      keeps_last: whether an epoch may have several evaluations; the last counts.

    Raises:
      UsageError: the log has invalid rows, no suitable column, no accuracy, several
        accuracies for an epoch, or another first epoch; one line per problem.
    """
    if repeated := csv_tables.find_repeated(table.header):
        raise UsageError(f"has the column {repeated} twice; remove one")
    column = choose_column(table.header, accuracy_column)
    places = table.header.index(epoch_column), table.header.index(column)
    points: list[tuple[int, float]] = []
    problems = []
    try:
        for row in table.rows:
            problem = csv_tables.find_length_problem(row, table.header)
            if problem is None:
                epoch, accuracy = (row.cells[place] for place in places)
                if accuracy in _NOT_EVALUATED:
                    continue
                try:
                    number = int(to_epoch(epoch))
                    points.append((number, to_accuracy(column, accuracy)))
                except ValueError as error:
                    problem = str(error)
            if problem is not None:
                problems.append(f"line {row.line}: {problem}")
    except CsvError as error:
        problems.append(str(error))
    if not problems and not points:
        problems.append(f"has no value of {column}; continue the training")
    if problems:
        raise UsageError("\n".join(cut_lines(problems, more="and {} more lines")))
    numbers = [epoch for epoch, _ in points]
    if first_epoch is None:
        first_epoch = 0 if min(numbers) == 0 else 1
    if min(numbers) != first_epoch:
        raise UsageError(
            f"starts with epoch {min(numbers)}, but {format_name} numbers epochs from "
            f"{first_epoch}; give the whole log, or give --epoch_column and "
            "--accuracy_column if its epochs are numbered otherwise"
        )
    by_number = _merge(points, keeps_last=keeps_last)
    notes = _note_repeated(len(points) - len(by_number)) if keeps_last else ()
    accuracies = {n - first_epoch + 1: value for n, value in by_number.items()}
    return TrainingLog(format_name, column, accuracies, notes=notes)


def _merge(
    points: Iterable[tuple[int, float]], *, keeps_last: bool
) -> dict[int, float]:
    """Return one accuracy per epoch, the last one if they differ and `keeps_last`.

    Raises:
      UsageError: an epoch has several accuracies, and not `keeps_last`.
    """
    accuracies: dict[int, float] = {}
    different: dict[int, None] = {}
    for epoch, accuracy in points:
        if accuracies.setdefault(epoch, accuracy) != accuracy:
            different[epoch] = None
        accuracies[epoch] = accuracy
    if different and not keeps_last:
        raise UsageError(
            f"has several accuracies for epoch {list_names(different)}; keep one run "
            "a file, and one row an epoch"
        )
    return accuracies


def merge_evaluations(
    points: Iterable[tuple[float, float]],
) -> tuple[dict[int, float], tuple[str, ...]]:
    """Keep the last evaluation in each epoch.

    Args:
      points: (epoch, accuracy) pairs; an epoch of 0.5 is halfway through the first one.
        Evaluations at epoch 0 are dropped.

    Returns:
      Accuracies by epoch, from 1, and notes for the user.
    """
    whole = [(math.ceil(e - 1e-6), accuracy) for e, accuracy in points if e > 1e-6]
    accuracies = _merge(whole, keeps_last=True)
    return accuracies, _note_repeated(len(whole) - len(accuracies))


def _note_repeated(num_dropped: int) -> tuple[str, ...]:
    if not num_dropped:
        return ()
    return (
        f"of several evaluations in an epoch the last counts ({num_dropped} dropped)",
    )


def to_epoch(value: object, *, is_whole: bool = True) -> float:
    """Convert a value of a log to the number of an epoch.

    Raises:
      ValueError: it is not a number from 0 to 10⁹, or a fraction although `is_whole`.
    """
    kind = "whole number" if is_whole else "number"
    try:
        number = float(value)  # type: ignore[arg-type]  # raises TypeError
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= _MAX_EPOCH or (is_whole and number % 1):
        raise ValueError(f"epoch {value!r:.30} is not a {kind} from 0")
    return number


def to_accuracy(name: str, value: object) -> float:
    """Convert a value of a log to an accuracy, 0 to 1 or in percent.

    Raises:
      ValueError: it is not a number from 0 to 100.
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # raises TypeError
    except (TypeError, ValueError):
        raise ValueError(f"{name} {value!r:.30} is not a number") from None
    if not 0 <= number <= 100:
        raise ValueError(f"{name} {value!s:.30} is not 0 to 1, nor 0 to 100 percent")
    return number
