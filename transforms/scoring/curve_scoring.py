"""Curves on the full set and on subsets → how good each subset is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms.records import UsageError
from transforms.scoring import agreement, curves, epochs, pairs, ranking, right_images
from transforms.scoring.agreement import PairAgreement, RankAgreement
from transforms.scoring.curve_files import read_rows
from transforms.scoring.curves import CurveSet
from transforms.scoring.epochs import Clearness
from transforms.scoring.pairs import PairTests, SeedNoise
from transforms.scoring.ranking import FloatArray
from transforms.scoring.verdict import Evidence, Verdict, judge

ENOUGH_MODELS = 6
_SHOWN = 5


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
    right = right_images.find_right_images(one)
    warnings += right.notes
    averaged = one.mean_curves()
    noise = pairs.measure_seed_noise([
        [run.final for run in one.best_runs(model)] for model in one.models
    ])
    tests = pairs.decide_pairs(
        averaged[:, -1], one.validation_images, shares=right.shares, noise=noise
    )
    clearness = epochs.measure_clearness(
        averaged, tests.decisions, train_images=one.train_images
    )
    return ScoredSet(
        curve_set=one, curves=averaged, tests=tests, noise=noise, clearness=clearness
    )


def _compare(full: ScoredSet, subset: ScoredSet, *, seed: int) -> ScoredSubset:
    kept = agreement.compare_pairs(full.tests, subset.tests)
    evidence = Evidence(
        models=full.models,
        pairs=kept,
        full=full.clearness,
        subset=subset.clearness,
        is_too_easy=all(
            epochs.are_always_far_apart(
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
        ranks=agreement.compare_ranks(
            full.tests.accuracies, subset.tests.accuracies, seed=seed
        ),
        pairs=kept,
        full_order_epoch=epochs.find_clear_epoch(subset.curves, full.tests.decisions),
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
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
