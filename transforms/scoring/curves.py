"""Rows of curves → sets of finished runs, and what each model reaches on a set.

A set is what was trained on: all of ImageNet or a subset of it, told by its subset id.
"""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from transforms.records import UsageError
from transforms.scoring.curve_files import FoundRow
from transforms.scoring.ranking import FloatArray

_COUNT_ERROR = 1e-4  # of a number of images, as the digits of a CSV leave it
_SHOWN = 5
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
