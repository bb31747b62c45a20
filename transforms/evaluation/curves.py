"""Read learning curves, group them by training set and average them over seeds.

A set is the data that models were trained on (ImageNet or a subset), identified by its
subset ID.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from transforms import csv_tables, storage
from transforms.arrays import FloatArray
from transforms.csv_tables import CsvError
from transforms.evaluation import log_sets, training_logs
from transforms.evaluation.log_sets import LocatedLog, LocatedRow
from transforms.evaluation.training_logs import ANY_COLUMNS, NAME_COLUMNS, LogColumns
from transforms.records import UsageError, cut_lines, list_names
from transforms.training.curves import CurveRow

CURVES = "curves.csv"
_MAX_BYTES = 100_000_000  # a hundred models over ten thousand epochs
_MAX_FILES = 10_000
_MAX_COUNT = 10**12
_ROUNDING_ERROR = 1e-4  # of a number of images computed from a decimal accuracy
_UNKNOWN = (
    f"is neither a {CURVES} nor a log of {', '.join(training_logs.FORMATS)}; "
    f"{NAME_COLUMNS}"
)
_SHOWN = 5
_SHORT_ID = 8
_HASH = re.compile("[0-9a-f]{32,}")
_DEFAULTS: Mapping[str, str] = {
    "dataset": "",
    "seed": "0",
    "learning_rate": "0",
    "seconds": "0",
}
_REQUIRED = tuple(name for name in CurveRow._fields if name not in _DEFAULTS)
_MINIMUM = {
    "seed": -_MAX_COUNT,
    "epoch": 1,
    "epochs": 1,
    "train_images": 1,
    "validation_images": 1,
}


class Run(NamedTuple):
    """One training run: a model with one seed and one learning rate."""

    model: str
    seed: int
    learning_rate: float
    accuracies: tuple[float, ...]  # on the validation images, by epoch
    path: str  # of the file

    @property
    def final(self) -> float:
        """The accuracy after the last epoch."""
        return self.accuracies[-1]


@dataclass(frozen=True, kw_only=True)
class CurveSet:
    """All runs on one training set.

    Attributes:
      dataset: name of the dataset; may be empty.
      subset_id: ID of the set; empty for training logs, which have none.
      epochs: number of epochs of every run.
      train_images: number of training images.
      validation_images: number of validation images.
      runs: runs in the order of their first rows.
    """

    dataset: str
    subset_id: str
    epochs: int
    train_images: int
    validation_images: int
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The dataset name and the subset ID, of a hash its first eight characters.

        Other IDs, as of curves that another program wrote, may share their beginning.
        """
        is_hash = _HASH.fullmatch(self.subset_id)
        shown = self.subset_id[:_SHORT_ID] if is_hash else self.subset_id
        return f"{self.dataset} {shown}".strip()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, sorted."""
        return tuple(sorted({run.model for run in self.runs}))

    def keep(self, models: Collection[str]) -> "CurveSet":
        """Return the set restricted to the runs of these models."""
        return replace(self, runs=tuple(r for r in self.runs if r.model in models))

    def best_runs(self, model: str) -> tuple[Run, ...]:
        """Return a model's run with the best final accuracy for each seed.

        Ties go to the earlier run; the seeds are ascending.
        """
        seeds = sorted({run.seed for run in self.runs if run.model == model})
        return tuple(
            max(
                (run for run in self.runs if (run.model, run.seed) == (model, seed)),
                key=lambda run: run.final,
            )
            for seed in seeds
        )

    def mean_curves(self) -> FloatArray:
        """Average the best runs over seeds, shape (models, epochs).

        Numbers of correct images are summed as integers, so that models with the same
        total tie exactly, regardless of the order of their seeds.
        """
        return np.array([self._mean_curve(model) for model in self.models])

    def _mean_curve(self, model: str) -> FloatArray:
        accuracies = np.array([run.accuracies for run in self.best_runs(model)])
        counts = accuracies * self.validation_images
        whole = np.rint(counts)
        if np.abs(counts - whole).max() > _ROUNDING_ERROR:  # the file has few digits
            mean: FloatArray = np.round(accuracies.mean(axis=0), 12)
            return mean
        total: FloatArray = whole.sum(axis=0)
        return total / (self.validation_images * len(accuracies))


class CurveFiles(NamedTuple):
    """The contents of curve files.

    Attributes:
      rows: rows of curves.csv files.
      logs: logs of other programs.
    """

    rows: list[LocatedRow]
    logs: list[LocatedLog]


def read_rows(paths: Sequence[str]) -> list[LocatedRow]:
    """Read curve files with `read_files`; return only the rows of curves.csv files."""
    return read_files(paths).rows


def read_files(paths: Sequence[str], columns: LogColumns = ANY_COLUMNS) -> CurveFiles:
    """Read curve files and training logs.

    Args:
      paths: files, or folders that are searched recursively for curves.csv and logs.
      columns: columns of logs that the user names.

    Raises:
      UsageError: a file is missing or invalid, or a folder contains no curves or too
        many files; one line per problem.
    """
    contents = CurveFiles([], [])
    problems: list[str] = []
    seen: set[str] = set()
    for argument in paths:
        files, is_folder = _find_files(argument, problems)
        num_read = 0
        for path in files:
            num_read += path in seen
            if path in seen:
                continue
            seen.add(path)
            try:
                text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
                if _is_table_of_curves(path, text, columns):
                    rows, bad_rows = parse(text)
                    contents.rows.extend(LocatedRow(row, path) for row in rows)
                    problems += [
                        f"{path}: {row}"
                        for row in cut_lines(bad_rows, _SHOWN, more="and {} more lines")
                    ]
                elif log := training_logs.read_log(text, columns):
                    contents.logs.append(LocatedLog(log, path, argument))
                elif is_folder and log_sets.is_free_name(path):
                    continue  # another table beside the logs
                else:
                    problems.append(f"{path}: {_UNKNOWN}")
            except CsvError as error:
                hint = "; if it is no log, give the logs' folders" * is_folder
                problems.append(f"{path}: {error}{hint}")
            except UsageError as error:
                problems += [f"{path}: {line}" for line in str(error).splitlines()]
            num_read += 1
        if is_folder and not num_read:
            problems.append(
                f"{argument}: the folder contains no {CURVES} and no training log; "
                "give the --output of python -m pipelines.train, or a file; "
                f"{NAME_COLUMNS}"
            )
    if problems:
        raise UsageError("\n".join(problems))
    return contents


def _find_files(path: str, problems: list[str]) -> tuple[list[str], bool]:
    """Return the files that may have curves at a path, and whether it is a folder.

    For a folder with too many files, append a problem and return ([], False).
    """
    if not storage.is_folder(path):
        return [path], False
    all_files = [f"{path.rstrip('/')}/{name}" for name in storage.list_files(path)]
    files = log_sets.find_logs(all_files, named=[CURVES])
    if len(files) > _MAX_FILES:
        problems.append(
            f"{path}: the folder contains {len(files)} files of curves, the limit is "
            f"{_MAX_FILES}; give its subfolders separately"
        )
        return [], False
    return files, True


def _is_table_of_curves(path: str, text: str, columns: LogColumns) -> bool:
    is_named = PurePath(path).name == CURVES and not columns.epoch
    return is_named or "subset_id" in text.split("\n", 1)[0]


def parse(text: str) -> tuple[list[CurveRow], list[str]]:
    """Parse a CSV table of curves; its columns may be in any order.

    Returns:
      The valid rows, and one problem per invalid row.

    Raises:
      UsageError: the text is not a table of curves, or has no rows.
    """
    rows: list[CurveRow] = []
    problems: list[str] = []
    try:
        header, table_rows = csv_tables.parse_table(text)
        _check_header(header)
        for table_row in table_rows:
            problem = csv_tables.find_length_problem(table_row, header)
            if problem is None:
                try:
                    cells = dict(zip(header, table_row.cells, strict=True))
                    rows.append(_to_row(cells))
                except ValueError as error:
                    problem = str(error)
            if problem is not None:
                problems.append(f"line {table_row.line}: {problem}")
    except CsvError as error:
        raise UsageError(str(error)) from None
    if not rows and not problems:
        raise UsageError("has a header and no rows; continue the training")
    return rows, problems


def _check_header(header: Sequence[str]) -> None:
    if missing := [name for name in _REQUIRED if name not in header]:
        raise UsageError(
            f"has no column {', '.join(missing)}; a table of curves has the columns "
            f"{', '.join(CurveRow._fields)}, of which {', '.join(_DEFAULTS)} are "
            "optional"
        )
    if repeated := csv_tables.find_repeated(header):
        raise UsageError(f"has the column {repeated} twice; remove one")


def _to_row(cells: Mapping[str, str]) -> CurveRow:
    """Convert and check the cells of a row.

    Raises:
      ValueError: a value is missing, of the wrong type or out of range.
    """
    values: dict[str, str | int | float] = {}
    for name, kind in CurveRow.__annotations__.items():
        text = cells.get(name, _DEFAULTS.get(name, ""))
        if kind is int:
            values[name] = _to_count(name, text)
        elif kind is float:
            values[name] = _to_number(name, text)
        elif text or name in _DEFAULTS:
            values[name] = text
        else:
            raise ValueError(f"{name} is empty")
    row = CurveRow(**values)  # type: ignore[arg-type]  # each is of its field's kind
    if row.epoch > row.epochs:
        raise ValueError(f"epoch {row.epoch} is after the last epoch, {row.epochs}")
    if row.validation_accuracy > 1:
        raise ValueError(
            f"validation_accuracy {row.validation_accuracy:g} is above 1; accuracies "
            "are 0 to 1: divide percentages by 100"
        )
    if row.validation_accuracy < 0:
        raise ValueError(f"validation_accuracy {row.validation_accuracy:g} is below 0")
    return row


def _to_count(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{name} {text!r:.30} is not a whole number") from None
    if not _MINIMUM[name] <= number <= _MAX_COUNT:
        raise ValueError(f"{name} {number} is not {_MINIMUM[name]} to {_MAX_COUNT}")
    return number


def _to_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r:.30} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} {text!r:.30} is not finite")
    return number


def group_by_set(located: Sequence[LocatedRow]) -> tuple[list[CurveSet], list[str]]:
    """Group rows by set and run.

    Returns:
      The sets in the order of their first rows, and warnings.

    Raises:
      UsageError: a run is unfinished or has gaps or two results for an epoch, or the
        runs of a set differ in their numbers of epochs or images; one line per problem.
    """
    unique, warnings, problems = _drop_repeated(located)
    rows_of: dict[str, list[LocatedRow]] = defaultdict(list)
    for item in unique:
        rows_of[find_set(item.row)].append(item)
    sets = []
    for name, rows in rows_of.items():
        set_problems = [f"set {name}: {text}" for text in _find_problems(rows)]
        problems += set_problems
        if not set_problems:
            sets.append(_make_set(rows))
    if problems:
        raise UsageError("\n".join(problems))
    return sets, warnings


def find_set(row: CurveRow | CurveSet) -> str:
    """Return the identifier of a set: its subset ID, or its name if it has no ID."""
    return row.subset_id or row.dataset


def _drop_repeated(
    located: Iterable[LocatedRow],
) -> tuple[list[LocatedRow], list[str], list[str]]:
    """Drop duplicate rows; return the remaining rows, warnings and problems.

    Rows of the same run and epoch are duplicates if they differ at most in `seconds`;
    any other difference is a problem.
    """
    first_of: dict[tuple[str, str, int, float, int], LocatedRow] = {}
    dropped: list[LocatedRow] = []
    problems = []
    for item in located:
        row = item.row
        key = (find_set(row), row.model, row.seed, row.learning_rate, row.epoch)
        first = first_of.setdefault(key, item)
        if first is item:
            continue
        if first.row._replace(seconds=0) == row._replace(seconds=0):
            dropped.append(item)
        else:
            files = " and ".join(dict.fromkeys((first.path, item.path)))
            problems.append(
                f"set {find_set(row)}: {_name_run(row)} has two results for epoch "
                f"{row.epoch} (in {files}); keep one run"
            )
    warnings = []
    if dropped:
        names = dict.fromkeys(item.row.model for item in dropped)
        warnings.append(
            f"{len(dropped)} rows repeat others exactly and are dropped: of "
            f"{list_names(names, _SHOWN)}"
        )
    problems = cut_lines(problems, _SHOWN, more="and {} more rows")
    return list(first_of.values()), warnings, problems


def _name_run(row: CurveRow) -> str:
    return f"{row.model}, seed {row.seed}, learning rate {row.learning_rate:g}"


def _find_problems(rows: Sequence[LocatedRow]) -> Iterator[str]:
    """Yield the problems that prevent an evaluation of one set."""
    for name, remedy in (
        ("epochs", "short schedules anneal first; give models of one schedule length"),
        ("train_images", "give runs on the same images"),
        ("validation_images", "give runs on the same images"),
    ):
        models_of: dict[int, dict[str, None]] = defaultdict(dict)
        for item in rows:
            models_of[getattr(item.row, name)][item.row.model] = None
        if len(models_of) > 1:
            shown = "; ".join(
                f"{value} ({list_names(models, _SHOWN)})"
                for value, models in sorted(models_of.items())
            )
            yield f"its runs differ in {name}: {shown}; {remedy}"
    gaps = [text for _, run_rows in _split(rows) for text in _find_gaps(run_rows)]
    yield from cut_lines(gaps, _SHOWN, more="and {} more runs")


def _find_gaps(run_rows: Sequence[LocatedRow]) -> Iterator[str]:
    """Yield a problem if a run lacks epochs, and another if it is not finished."""
    row = run_rows[0].row
    present = {item.row.epoch for item in run_rows}
    last = max(present)
    if missing := [epoch for epoch in range(1, last) if epoch not in present]:
        yield (
            f"{_name_run(row)} lacks epoch {list_names(missing, _SHOWN)}; give the "
            "whole curve"
        )
    if last < row.epochs:
        yield (
            f"{_name_run(row)} is not finished: {last} of {row.epochs} epochs; "
            "continue its training (with the same command), or leave it out"
        )


def _split(
    rows: Iterable[LocatedRow],
) -> list[tuple[tuple[str, int, float], list[LocatedRow]]]:
    """Split rows into runs, in the order of their first rows."""
    runs: dict[tuple[str, int, float], list[LocatedRow]] = defaultdict(list)
    for item in rows:
        runs[item.row.model, item.row.seed, item.row.learning_rate].append(item)
    return list(runs.items())


def _make_set(rows: Sequence[LocatedRow]) -> CurveSet:
    first = rows[0].row
    return CurveSet(
        dataset=first.dataset,
        subset_id=first.subset_id,
        epochs=first.epochs,
        train_images=first.train_images,
        validation_images=first.validation_images,
        runs=tuple(
            Run(
                *key,
                tuple(
                    item.row.validation_accuracy
                    for item in sorted(run_rows, key=lambda item: item.row.epoch)
                ),
                run_rows[0].path,
            )
            for key, run_rows in _split(rows)
        ),
    )
