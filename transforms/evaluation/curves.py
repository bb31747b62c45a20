"""Files of curves → their rows, with everything that is wrong in them."""

import csv
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from transforms import storage
from transforms.arrays import FloatArray
from transforms.records import UsageError
from transforms.training.curves import CurveRow

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


_COUNT_ERROR = 1e-4  # of a number of images, as the digits of a CSV leave it
_SHORT_ID = 8


class Run(NamedTuple):
    """A model trained once: with one seed and one learning rate."""

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
    """All finished runs on one set.

    Attributes:
      runs: in the order of the files.
      epochs: of every run.
    """

    dataset: str
    subset_id: str
    epochs: int
    train_images: int
    validation_images: int
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """What people call it, with enough of its id to tell it apart."""
        return f"{self.dataset} {self.subset_id[:_SHORT_ID]}".strip()

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, sorted."""
        return tuple(sorted({run.model for run in self.runs}))

    def keep(self, models: Collection[str]) -> "CurveSet":
        """Keep the runs of some models."""
        return replace(self, runs=tuple(r for r in self.runs if r.model in models))

    def best_runs(self, model: str) -> tuple[Run, ...]:
        """Return a model's best run of each seed: the first that ends highest."""
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

        Right images are summed as whole numbers, so that models which got as many
        right in all tie exactly, in whatever order their seeds are added.
        """
        return np.array([self._mean_curve(model) for model in self.models])

    def _mean_curve(self, model: str) -> FloatArray:
        accuracies = np.array([run.accuracies for run in self.best_runs(model)])
        counts = accuracies * self.validation_images
        whole = np.rint(counts)
        if np.abs(counts - whole).max() > _COUNT_ERROR:  # rounded before they came
            mean: FloatArray = np.round(accuracies.mean(axis=0), 12)
            return mean
        total: FloatArray = whole.sum(axis=0)
        return total / (self.validation_images * len(accuracies))


def gather(found: Sequence[FoundRow]) -> tuple[list[CurveSet], list[str]]:
    """Sort rows into sets.

    Returns: The sets, in the order in which they come first, and warnings.
    Raises: UsageError: every set that cannot be judged, and why, a line each.
    """
    kept, warnings, problems = _drop_repeated(found)
    rows_of: dict[str, list[FoundRow]] = defaultdict(list)
    for one in kept:
        rows_of[one.row.subset_id].append(one)
    sets = []
    for subset_id, rows in rows_of.items():
        wrong = [f"set {subset_id}: {text}" for text in _find_problems(rows)]
        problems += wrong
        if not wrong:
            sets.append(_make_set(rows))
    if problems:
        raise UsageError("\n".join(problems))
    return sets, warnings


def _drop_repeated(
    found: Iterable[FoundRow],
) -> tuple[list[FoundRow], list[str], list[str]]:
    """Drop rows that stand twice; returns the rest, warnings and problems.

    How long an epoch took is no result, so that it may differ.
    """
    first_of: dict[tuple[str, str, int, float, int], FoundRow] = {}
    dropped: list[FoundRow] = []
    problems = []
    for one in found:
        row = one.row
        key = (row.subset_id, row.model, row.seed, row.learning_rate, row.epoch)
        first = first_of.setdefault(key, one)
        if first is one:
            continue
        if first.row._replace(seconds=0) == row._replace(seconds=0):
            dropped.append(one)
        else:
            places = " and ".join(dict.fromkeys((first.path, one.path)))
            problems.append(
                f"set {row.subset_id}: {row.model}, seed {row.seed}, learning rate "
                f"{row.learning_rate:g} has two results for epoch {row.epoch} "
                f"(in {places}); keep one run"
            )
    warnings = []
    if dropped:
        names = dict.fromkeys(one.row.model for one in dropped)
        warnings.append(
            f"{len(dropped)} rows repeat others exactly and are dropped: of "
            f"{_list(names)}"
        )
    return list(first_of.values()), warnings, _cut(problems)


def _find_problems(rows: Sequence[FoundRow]) -> Iterator[str]:
    """Yield why the rows of one set cannot be judged."""
    for name, remedy in (
        ("epochs", "short schedules anneal first; give models of one schedule length"),
        ("train_images", "give runs on the same images"),
        ("validation_images", "give runs on the same images"),
    ):
        models_of: dict[int, dict[str, None]] = defaultdict(dict)
        for one in rows:
            models_of[getattr(one.row, name)][one.row.model] = None
        if len(models_of) > 1:
            shown = "; ".join(
                f"{value} ({_list(models)})"
                for value, models in sorted(models_of.items())
            )
            yield f"its runs differ in {name}: {shown}; {remedy}"
    yield from _cut([text for _, own in _split(rows) for text in _find_gaps(own)])


def _find_gaps(own: Sequence[FoundRow]) -> Iterator[str]:
    """Yield which epochs a run lacks."""
    row = own[0].row
    name = f"{row.model}, seed {row.seed}, learning rate {row.learning_rate:g}"
    there = {one.row.epoch for one in own}
    last = max(there)
    if missing := [epoch for epoch in range(1, last) if epoch not in there]:
        yield f"{name} lacks epoch {_list(missing)}; give its whole curve"
    if last < row.epochs:
        yield (
            f"{name} is not finished: {last} of {row.epochs} epochs; go on with its "
            "training (the same command), or leave it out"
        )


def _split(
    rows: Iterable[FoundRow],
) -> list[tuple[tuple[str, int, float], list[FoundRow]]]:
    """Split rows into runs, in the order in which they come first."""
    runs: dict[tuple[str, int, float], list[FoundRow]] = defaultdict(list)
    for one in rows:
        runs[one.row.model, one.row.seed, one.row.learning_rate].append(one)
    return list(runs.items())


def _make_set(rows: Sequence[FoundRow]) -> CurveSet:
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
                    one.row.validation_accuracy
                    for one in sorted(own, key=lambda one: one.row.epoch)
                ),
                own[0].path,
            )
            for key, own in _split(rows)
        ),
    )


def find_folder(path: str) -> str:
    """Return the folder of a file, local or in a bucket."""
    return path.rpartition("/")[0] or "."


def folder_runs(curve_set: CurveSet) -> dict[str, list[Run]]:
    """Return which runs each folder's files hold."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in curve_set.runs:
        runs[find_folder(run.path)].append(run)
    return dict(runs)


def _list(items: Iterable[object]) -> str:
    words = [str(item) for item in items]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(itertools.islice(words, _SHOWN)) + more


def _cut(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _SHOWN
    return [*problems[:_SHOWN], *[f"and {more} runs or rows more"] * (more > 0)]
