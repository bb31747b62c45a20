"""Predictions beside curves → on which validation images each model is right.

They are what `pipelines.train` writes: of one model, of the classes or groups that it
was trained on. They let pairs of models be told apart by McNemar's test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.arrays import BoolArray, FloatArray
from transforms.evaluation import convergence, curves, ranking, significance
from transforms.evaluation.convergence import Clearness
from transforms.evaluation.curves import (
    CurveSet,
    Run,
    find_folder,
    folder_runs,
    read_rows,
)
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.significance import PairTests, SeedNoise
from transforms.evaluation.verdict import Evidence, Verdict, judge
from transforms.predictions import table as predictions_table
from transforms.records import UsageError

_PREDICTIONS = "predictions.parquet"
_COLUMNS = ["key", "wnid", "top5"]
_MAX_DIFFERENCE = 0.001  # of accuracies that should be the same
_SHOWN_RIGHT_IMAGES = 3


class RightImages(NamedTuple):
    """What is known of single images.

    Attributes:
      shares: shape (models, images), the share of a model's seeds that are right; None
        when it is not known of all runs.
      notes: why it is not.
    """

    shares: FloatArray | None
    notes: tuple[str, ...] = ()


class _Answers(NamedTuple):
    keys: tuple[str, ...]  # sorted
    correct: BoolArray
    subset_id: str


def find_right_images(curve_set: CurveSet) -> RightImages:
    """Read the predictions that lie beside the curves of a set's best runs."""
    alone = {
        folder
        for folder, runs in folder_runs(curve_set).items()
        if len({(run.model, run.seed) for run in runs}) == 1
    }
    shares: list[FloatArray] = []
    keys: tuple[str, ...] | None = None
    lacking: list[str] = []
    problems: list[str] = []
    num_runs = 0
    for model in curve_set.models:
        rows = []
        for run in curve_set.best_runs(model):
            num_runs += 1
            folder = find_folder(run.path)
            path = f"{folder}/{_PREDICTIONS}"
            if folder not in alone or not storage.exists(path):
                lacking.append(f"{run.model}, seed {run.seed}")
                continue
            try:
                answers = _read(path, curve_set.validation_images)
                _check(answers, run, curve_set, keys)
            except UsageError as error:
                problems.append(f"{path}: {error}")
                continue
            keys = answers.keys
            rows.append(answers.correct)
        if rows:
            shares.append(np.mean(rows, axis=0))
    if not lacking and not problems:
        return RightImages(np.stack(shares))
    return RightImages(None, tuple(_tell(curve_set, num_runs, lacking, problems)))


def _tell(
    curve_set: CurveSet, num_runs: int, lacking: list[str], problems: list[str]
) -> list[str]:
    """Say why pairs are not paired; nothing when no run has predictions."""
    notes = [
        f"{text}; so pairs are not paired" for text in problems[:_SHOWN_RIGHT_IMAGES]
    ]
    if 0 < len(lacking) < num_runs:
        notes.append(
            f"{curve_set.name}: no {_PREDICTIONS} lies beside the curves of "
            f"{'; '.join(lacking[:_SHOWN_RIGHT_IMAGES])}"
            f"{f' and {len(lacking) - _SHOWN_RIGHT_IMAGES} more' if len(lacking) > _SHOWN_RIGHT_IMAGES else ''}, "
            "so that pairs are compared by their accuracies alone"
        )
    return notes


def _read(path: str, num_images: int) -> _Answers:
    """Read which images are right.

    Raises: UsageError: it does not fit the curves, or is no such file.
    """
    models = predictions_table.read_models(path)
    if len(models) != 1:
        raise UsageError(f"holds {len(models)} models")
    label_of = {w: n for n, c in enumerate(models[0].classes) for w in c.wnids}
    keys: list[str] = []
    correct: list[BoolArray] = []
    try:
        file = pq.ParquetFile(storage.for_arrow(path))
        if file.metadata.num_rows != num_images:
            raise UsageError(
                f"has {file.metadata.num_rows} images, the curves {num_images}"
            )
        for batch in file.iter_batches(columns=_COLUMNS):
            keys += batch["key"].to_pylist()
            first = pc.list_element(batch["top5"], 0).to_numpy(zero_copy_only=False)
            truth = [label_of.get(wnid, -1) for wnid in batch["wnid"].to_pylist()]
            correct.append(np.asarray(first == np.array(truth)))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"is damaged ({error!s:.100})") from None
    if len(set(keys)) < len(keys) or None in keys:
        raise UsageError("has images twice, or without a key")
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return _Answers(
        tuple(keys[number] for number in order),
        np.concatenate(correct)[order],
        models[0].trained_on_subset_id,
    )


def _check(
    answers: _Answers, run: Run, curve_set: CurveSet, keys: tuple[str, ...] | None
) -> None:
    """Refuse answers of another run, or about other images than the ones before."""
    accuracy = float(answers.correct.mean())
    if abs(accuracy - run.final) > _MAX_DIFFERENCE:
        raise UsageError(
            f"{accuracy:.4f} of its images are right, where the curve ends at "
            f"{run.final:.4f}: it is of another run"
        )
    if answers.subset_id not in {"", curve_set.subset_id}:
        raise UsageError(f"is of a model trained on {answers.subset_id}")
    if keys is not None and keys != answers.keys:
        raise UsageError("is about other images than those of the models before")


ENOUGH_MODELS = 6
_SHOWN_CURVE_SCORING = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSet:
    """One set and what its models reach; models lie in the order of their names.

    Attributes:
      curves: shape (models, epochs), means over seeds of the best learning rate.
      noise: between seeds; None with one seed a model.
    """

    curve_set: CurveSet
    curves: FloatArray
    tests: PairTests
    noise: SeedNoise | None
    clearness: Clearness

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names."""
        return self.curve_set.models


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSubset(ScoredSet):
    """A subset, compared with the full set.

    Attributes:
      full_order_epoch: the epoch from which the subset has the order of the full set
        in all pairs that the full set tells apart; None when it ends with another.
    """

    ranks: RankAgreement
    pairs: PairAgreement
    full_order_epoch: int | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveEvaluation:
    """All subsets beside the full set, over the models that all of them have."""

    full: ScoredSet
    subsets: tuple[ScoredSubset, ...]
    warnings: tuple[str, ...]


def evaluate_curves(
    full_paths: Sequence[str], subset_paths: Sequence[str], *, seed: int = 0
) -> CurveEvaluation:
    """Judge subsets by curves of the same models on them and on the full set.

    Args:
      full_paths: files or folders of curves of one set.
      subset_paths: of one or more others.
      seed: what the interval's draws are hashed from.
    Raises: UsageError: all that is wrong with the curves.
    """
    full_sets, subsets, warnings = _read_all(full_paths, subset_paths)
    full, subsets, more = _match(full_sets, subsets)
    warnings += more
    scored_full = _score(full, warnings)
    scored = []
    for subset in subsets:
        scored.append(_compare(scored_full, _score(subset, warnings), seed=seed))
        warnings += _find_doubts(scored_full, scored[-1])
    return CurveEvaluation(
        full=scored_full, subsets=tuple(scored), warnings=tuple(dict.fromkeys(warnings))
    )


def _read_all(
    full_paths: Sequence[str], subset_paths: Sequence[str]
) -> tuple[list[CurveSet], list[CurveSet], list[str]]:
    found = []
    problems: list[str] = []
    warnings: list[str] = []
    for flag, paths in (("full", full_paths), ("subset", subset_paths)):
        try:
            sets, notes = curves.gather(read_rows(paths))
            found.append(sets)
            warnings += [f"--{flag}: {note}" for note in notes]
        except UsageError as error:
            problems += [f"--{flag} {line}" for line in str(error).splitlines()]
    if problems:
        raise UsageError("\n".join(problems))
    full, subsets = found
    return full, subsets, warnings


def _match(
    full_sets: Sequence[CurveSet], subsets: Sequence[CurveSet]
) -> tuple[CurveSet, list[CurveSet], list[str]]:
    """Keep the models that all sets have; says which are left out.

    Raises: UsageError: not one full set, one of its own subsets, too few models.
    """
    problems = []
    if len(full_sets) > 1:
        names = ", ".join(one.subset_id for one in full_sets)
        problems.append(
            f"--full: holds curves of {len(full_sets)} sets ({names}); give those of "
            "one, the others as --subset"
        )
    full_ids = {one.subset_id for one in full_sets}
    problems += [
        f"--subset: set {one.subset_id} is the full set itself; give the curves of "
        "another set"
        for one in subsets
        if one.subset_id in full_ids
    ]
    if problems:
        raise UsageError("\n".join(problems))
    sets = [full_sets[0], *subsets]
    shared = set.intersection(*(set(one.models) for one in sets))
    if len(shared) < ranking.MIN_MODELS:
        named = f": {_list(sorted(shared))}" if shared else ""
        raise UsageError(
            f"--full, --subset: {len(shared)} models are trained on all sets{named}; "
            f"a ranking needs {ranking.MIN_MODELS}, better {ENOUGH_MODELS} or more"
        )
    warnings = [
        f"{one.name}: {_list(left_out)} left out, since not every set has them"
        for one in sets
        if (left_out := [name for name in one.models if name not in shared])
    ]
    if len(shared) < ENOUGH_MODELS:
        warnings.append(
            f"{len(shared)} models are few: below {ENOUGH_MODELS} a correlation of "
            "ranks says little"
        )
    full, *others = (one.keep(shared) for one in sets)
    return full, others, warnings


def _score(one: CurveSet, warnings: list[str]) -> ScoredSet:
    right = find_right_images(one)
    warnings += right.notes
    averaged = one.mean_curves()
    noise = significance.measure_seed_noise([
        [run.final for run in one.best_runs(model)] for model in one.models
    ])
    tests = significance.decide_pairs_pairs(
        averaged[:, -1], one.validation_images, shares=right.shares, noise=noise
    )
    clearness = convergence.measure_clearness(
        averaged, tests.decisions, train_images=one.train_images
    )
    return ScoredSet(
        curve_set=one, curves=averaged, tests=tests, noise=noise, clearness=clearness
    )


def _compare(full: ScoredSet, subset: ScoredSet, *, seed: int) -> ScoredSubset:
    kept = ranking.compare_pairs(full.tests, subset.tests)
    evidence = Evidence(
        models=full.models,
        pairs=kept,
        full=full.clearness,
        subset=subset.clearness,
        is_too_easy=all(
            convergence.are_always_far_apart(
                one.curves, one.tests.decisions, one.curve_set.validation_images
            )
            for one in (full, subset)
        ),
    )
    return ScoredSubset(
        curve_set=subset.curve_set,
        curves=subset.curves,
        tests=subset.tests,
        noise=subset.noise,
        clearness=subset.clearness,
        ranks=ranking.compare_ranks(
            full.tests.accuracies, subset.tests.accuracies, seed=seed
        ),
        pairs=kept,
        full_order_epoch=convergence.find_clear_epoch(
            subset.curves, full.tests.decisions
        ),
        verdict=judge(evidence),
    )


def _find_doubts(full: ScoredSet, subset: ScoredSubset) -> Iterator[str]:
    """Yield what to know before trusting a gain."""
    name, clear = subset.curve_set.name, subset.clearness.clear_epoch
    for one in (full, subset):
        if one.clearness.clear_epoch == one.curve_set.epochs > 1:
            yield (
                f"{one.curve_set.name}: its order is clear with its last epoch only, "
                "where it is that order by definition"
            )
    later = subset.full_order_epoch
    if clear is not None and later is not None and later > clear:
        yield (
            f"{name}: it is clear from epoch {clear} on in the pairs that it tells "
            f"apart, but has the full set's order in all from epoch {later} on"
        )


def _list(names: Sequence[str]) -> str:
    more = (
        f" and {len(names) - _SHOWN_CURVE_SCORING} more"
        if len(names) > _SHOWN_CURVE_SCORING
        else ""
    )
    return ", ".join(names[:_SHOWN_CURVE_SCORING]) + more
