"""Evaluate subsets by comparing their learning curves with those of the full set.

If the folder of each curve also contains the predictions that `pipelines.train` writes,
models are compared image by image (McNemar's test), otherwise by accuracy alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transforms import storage
from transforms.arrays import FloatArray
from transforms.evaluation import (
    ceilings,
    convergence,
    curves,
    discordance,
    log_sets,
    ranking,
    recommendation,
    significance,
)
from transforms.evaluation.ceilings import Ceiling
from transforms.evaluation.convergence import Convergence, TrainedSet
from transforms.evaluation.correctness import (
    MAX_DIFFERENCE,
    PREDICTIONS,
    RunCorrectness,
    read_run,
)
from transforms.evaluation.curves import CurveSet, Run
from transforms.evaluation.log_sets import LocatedRow, LogSettings
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.recommendation import Candidate
from transforms.evaluation.significance import PairTests, SeedNoise
from transforms.evaluation.verdict import (
    Evidence,
    Verdict,
    describe_interval,
    find_gain,
    is_within_ceiling,
    judge,
    widen,
)
from transforms.records import UsageError, format_percent, list_names

_SHOWN = 3
_NO_SETTINGS = LogSettings()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSet:
    """A training set and the accuracies of the models trained on it.

    The models are sorted by name.

    Attributes:
      curve_set: the runs on the set.
      curves: shape (models, epochs), accuracies at the best learning rate of each
        seed, averaged over seeds.
      tests: significance tests of the final accuracies of all pairs, with Holm's
        correction.
      noise: variance between seeds; None if every model has one seed.
      convergence: convergence of the ranking of the pairs that are significant on the
        full set.
    """

    curve_set: CurveSet
    curves: FloatArray
    tests: PairTests
    noise: SeedNoise | None
    convergence: Convergence

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, sorted."""
        return self.curve_set.models


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSubset(ScoredSet):
    """A subset, compared with the full set.

    Attributes:
      ranks: agreement of the rankings by final accuracy.
      pairs: agreement on pairs of models.
      ceiling: agreement of a subset whose only error is noise.
      full_convergence: convergence of the full set's ranking of the same pairs. For
        both sets, the share `ceiling.least_kept` of the pairs must be in order.
      verdict: whether the subset is useful for ranking models.
    """

    ranks: RankAgreement
    pairs: PairAgreement
    ceiling: Ceiling
    full_convergence: Convergence
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveEvaluation:
    """The full set and all subsets, restricted to the models trained on all of them.

    The subsets are sorted by τ-b, best first, then by images seen until convergence.
    """

    full: ScoredSet
    subsets: tuple[ScoredSubset, ...]
    warnings: tuple[str, ...]


class Correctness(NamedTuple):
    """Per-image correctness on one set.

    Attributes:
      shares: shape (models, images), the share of a model's seeds that classify the
        image correctly; None if predictions of any run are missing or unusable.
      notes: reasons why `shares` is None; empty if no run has predictions.
    """

    shares: FloatArray | None
    notes: tuple[str, ...] = ()


def evaluate_curves(
    full_paths: Sequence[str],
    subset_paths: Sequence[str],
    *,
    logs: LogSettings = _NO_SETTINGS,
    seed: int,
) -> CurveEvaluation:
    """Compare subsets with the full set by the training curves of the same models.

    Args:
      full_paths: files or folders with curves of the full set.
      subset_paths: files or folders with curves of one or more subsets.
      logs: settings for what the logs of other training programs do not state.
      seed: seed of the noise ceiling and of the interval of the gain (see
        `convergence.bound_gain`).

    Raises:
      UsageError: curves are invalid, `full_paths` contain several sets, a subset is the
        full set, or fewer than three models are trained on all sets; one line per
        problem.
    """
    full_sets, subsets, warnings = _read_all(full_paths, subset_paths, logs)
    full, subsets, match_warnings = _match_models(full_sets, subsets)
    warnings += match_warnings
    lender = next((s for s in (full, *subsets) if _measure_noise(s)), None)
    scored_full = _score(full, warnings, lender=lender)
    warnings += _warn_of_convergence(scored_full)
    scored = []
    for subset in subsets:
        scored_subset = _score(subset, warnings, lender=lender)
        scored.append(_compare(scored_full, scored_subset, seed=seed))
        warnings += _warn_of_convergence(scored[-1])
    scored.sort(key=_order)
    return CurveEvaluation(
        full=scored_full, subsets=tuple(scored), warnings=tuple(dict.fromkeys(warnings))
    )


def _order(subset: ScoredSubset) -> tuple[float, float]:
    tau, images = subset.ranks.tau, subset.convergence.images_seen
    return (
        math.inf if tau is None else -tau,
        math.inf if images is None else images,
    )


def advise(evaluation: CurveEvaluation) -> list[str]:
    """Recommend a subset in sentences; subsets that are not useful are left out."""
    full, subsets = evaluation.full, evaluation.subsets
    useless = [s.curve_set.name for s in subsets if s.verdict.value == "not useful"]
    choice = recommendation.recommend(
        full.tests.accuracies,
        [
            Candidate(
                subset.curve_set.name,
                subset.ranks.tau,
                subset.tests.accuracies[np.newaxis],
                subset.curve_set.train_images * subset.curve_set.epochs,
                _describe_noise(subset),
            )
            for subset in subsets
            if subset.ranks.tau is not None and subset.verdict.value != "not useful"
        ],
        families=discordance.find_families(full.models),
    )
    if choice is None:
        reason = "no subset is useful" if useless else "no subset can be ranked"
        return [f"keep the full set, since {reason}."]
    best = next(s for s in subsets if s.curve_set.name == choice.best.name)
    interval = best.ranks.tau_interval
    if interval is None or interval.low <= 0:
        return [
            f"undecided, since even {choice.best.name} (τ-b "
            f"{choice.best.tau:.3f}, the highest) may rank the models like the full "
            "set by chance; train more models."
        ]
    lines = [
        f"{choice.describe('images seen in training')}.",
        f"Verdict on {choice.best.name}: {best.verdict}.",
    ]
    if useless:
        lines.append(f"Not useful, and not compared: {list_names(useless)}.")
    return lines


def _describe_noise(subset: ScoredSubset) -> str:
    pairs, least = subset.pairs, subset.ceiling.least_kept
    if least is None or not pairs.significant_full:
        return ""
    words = "within" if is_within_ceiling(pairs, subset.ceiling) else "below"
    kept = f"{pairs.sign_agreement or 0:.1%} of the significant pairs"
    return f", which keeps the order of {kept}, {words} noise (at least {least:.1%})"


_LEGEND = {
    "subset": "sorted by tau, best first",
    "verdict": "whether the subset is useful for ranking models; see the sentences "
    "above",
    "tau": "Kendall's tau-b of the models' final accuracies on the subset with those "
    "on the full set",
    "95 %": "confidence interval of tau over the choice of models",
    "kept": "share of the pairs of models that differ significantly on the full set "
    "that have the same order on the subset",
    "ceiling": "`kept` if noise were the subset's only error",
    "resolving": "share of these pairs that differ significantly, in the same order, "
    "on the subset",
    "regret": "accuracy lost on the full set by selecting the subset's best model",
    "gain": "images seen until the ranking converges, full set divided by subset",
    "gain, 95 %": "confidence interval of gain",
    "converges": "images seen on the subset until its ranking converges",
    "seen": "images seen in the whole training on the subset",
}


def format_subsets(evaluation: CurveEvaluation) -> str:
    """Format the subsets as a plain-text table with legend and recommendation."""
    return recommendation.format_table(
        _LEGEND,
        [_format_row(subset) for subset in evaluation.subsets],
        advice=advise(evaluation),
    )


def _format_row(subset: ScoredSubset) -> tuple[str, ...]:
    ranks, pairs, verdict = subset.ranks, subset.pairs, subset.verdict
    tau, gain, images = ranks.tau_interval, verdict.gain, subset.convergence.images_seen
    return (
        subset.curve_set.name,
        verdict.value,
        "-" if ranks.tau is None else f"{ranks.tau:.3f}",
        "-" if tau is None else f"{tau.low:.3f}…{tau.high:.3f}",
        format_percent(pairs.sign_agreement),
        format_percent(subset.ceiling.kept),
        format_percent(pairs.resolving_power),
        format_percent(ranks.regret, 2),
        "-" if gain is None else f"{gain:.3g}",
        "-"
        if verdict.gain_interval is None
        else describe_interval(verdict.gain_interval),
        "never" if images is None else str(images),
        str(subset.curve_set.train_images * subset.curve_set.epochs),
    )


def _read_all(
    full_paths: Sequence[str], subset_paths: Sequence[str], settings: LogSettings
) -> tuple[list[CurveSet], list[CurveSet], list[str]]:
    problems: list[str] = []
    contents = {}
    for flag, paths in (("full", full_paths), ("subset", subset_paths)):
        try:
            contents[flag] = curves.read_files(paths, settings.columns)
        except UsageError as error:
            problems += [f"--{flag} {line}" for line in str(error).splitlines()]
    log_rows: Mapping[str, Sequence[LocatedRow]] = {}
    warnings: list[str] = []
    if not problems:
        try:
            logs = {flag: content.logs for flag, content in contents.items()}
            log_rows, warnings = log_sets.to_rows(logs, settings)
        except UsageError as error:
            problems.append(str(error))
    sets_of = []
    for flag, content in contents.items():
        try:
            rows = [*content.rows, *log_rows.get(flag, ())]
            sets, set_warnings = curves.group_by_set(rows)
            sets_of.append(sets)
            warnings += [f"--{flag}: {warning}" for warning in set_warnings]
        except UsageError as error:
            problems += [f"--{flag} {line}" for line in str(error).splitlines()]
    if problems:
        raise UsageError("\n".join(problems))
    full, subsets = sets_of
    return full, subsets, warnings


def _match_models(
    full_sets: Sequence[CurveSet], subsets: Sequence[CurveSet]
) -> tuple[CurveSet, list[CurveSet], list[str]]:
    """Restrict the sets to the models that all have; return warnings too.

    Raises:
      UsageError: there are several full sets, a subset is the full set, or too few
        models are left.
    """
    problems = []
    if len(full_sets) > 1:
        names = ", ".join(map(curves.find_set, full_sets))
        problems.append(
            f"--full: contains curves of {len(full_sets)} sets ({names}); give those "
            "of one set, the others as --subset"
        )
    full_runs = {(curves.find_set(full_set), full_set.epochs) for full_set in full_sets}
    problems += [
        f"--subset: set {curves.find_set(subset)} is the full set itself; give the "
        "curves of another set"
        for subset in subsets
        if (curves.find_set(subset), subset.epochs) in full_runs
    ]
    if problems:
        raise UsageError("\n".join(problems))
    sets = [full_sets[0], *subsets]
    shared = set.intersection(*(set(curve_set.models) for curve_set in sets))
    if len(shared) < ranking.MIN_MODELS:
        names = f": {list_names(sorted(shared))}" if shared else ""
        raise UsageError(
            f"--full, --subset: {len(shared)} models are trained on all sets{names}; "
            f"a ranking needs {ranking.MIN_MODELS}, better {ranking.ENOUGH_MODELS} or "
            "more"
        )
    warnings = [
        f"{curve_set.name}: {list_names(left_out)} left out, since not every set has "
        "them"
        for curve_set in sets
        if (left_out := [name for name in curve_set.models if name not in shared])
    ]
    warnings += ranking.warn_of_few(len(shared))
    full, *others = (curve_set.keep(shared) for curve_set in sets)
    return full, others, warnings


def _measure_noise(curve_set: CurveSet) -> SeedNoise | None:
    """Estimate the variance between seeds; return None if all models have one seed."""
    return significance.measure_seed_noise([
        [run.final for run in curve_set.best_runs(model)] for model in curve_set.models
    ])


def _score(
    curve_set: CurveSet, warnings: list[str], *, lender: CurveSet | None
) -> ScoredSet:
    """Test all pairs of models on a set.

    Args:
      curve_set: the runs on the set.
      warnings: extended by the limitations of the measurements.
      lender: set whose variance between seeds a set with one seed is assumed to have;
        None if all sets have one seed.
    """
    correctness = read_correctness(curve_set)
    warnings += correctness.notes
    mean_curves = curve_set.mean_curves()
    noise = assumed = _measure_noise(curve_set)
    if noise is None and lender and (borrowed := _measure_noise(lender)):
        assumed = borrowed._replace(num_seeds=np.ones(len(curve_set.models)))
        warnings.append(
            f"{curve_set.name}: has one seed; its accuracies are assumed to vary "
            f"between seeds as those of {lender.name}"
        )
    tests = significance.compare_all_pairs(
        mean_curves[:, -1],
        curve_set.validation_images,
        correctness=correctness.shares,
        noise=assumed,
    ).correct()
    trained = TrainedSet(mean_curves, curve_set.train_images)
    return ScoredSet(
        curve_set=curve_set,
        curves=mean_curves,
        tests=tests,
        noise=noise,
        convergence=convergence.measure_convergence(trained, tests.decisions),
    )


def _compare(full: ScoredSet, subset: ScoredSet, *, seed: int) -> ScoredSubset:
    decisions = full.tests.decisions
    families = discordance.find_families(full.models)
    ceiling = ceilings.predict_ceiling(full.tests, subset.tests, seed=seed)
    pairs = ranking.compare_pairs(full.tests, subset.tests, ceiling=ceiling.tau)
    # Both sets must order the same share of the same pairs.
    share = 1.0 if ceiling.least_kept is None else ceiling.least_kept
    trained = (
        TrainedSet(full.curves, full.curve_set.train_images),
        TrainedSet(subset.curves, subset.curve_set.train_images),
    )
    full_convergence, subset_convergence = (
        convergence.measure_convergence(one, decisions, share=share) for one in trained
    )
    gain_interval = convergence.bound_gain(
        *trained, decisions=decisions, share=share, families=families, seed=seed
    )
    evidence = Evidence(
        models=full.models,
        pairs=pairs,
        ceiling=ceiling,
        full=full_convergence,
        subset=subset_convergence,
        gain_interval=widen(
            gain_interval, find_gain(full_convergence, subset_convergence)
        ),
        has_seeds=full.noise is not None and subset.noise is not None,
    )
    return ScoredSubset(
        curve_set=subset.curve_set,
        curves=subset.curves,
        tests=subset.tests,
        noise=subset.noise,
        convergence=subset_convergence,
        ranks=ranking.compare_ranks(
            full.tests.accuracies, subset.tests.accuracies, families=families
        ),
        pairs=pairs,
        ceiling=ceiling,
        full_convergence=full_convergence,
        verdict=judge(evidence),
    )


def _warn_of_convergence(scored: ScoredSet) -> Iterator[str]:
    epoch = scored.convergence.convergence_epoch
    if epoch == scored.curve_set.epochs > 1:
        yield (
            f"{scored.curve_set.name}: the ranking converges in the last epoch only, "
            "after which it might still change"
        )


def read_correctness(curve_set: CurveSet) -> Correctness:
    """Read per-image correctness from the prediction files of a set's best runs.

    Missing or unusable files are not an error: `shares` is None then.
    """
    runs_in = _group_by_folder(curve_set)
    shares: list[FloatArray] = []
    keys: tuple[str, ...] | None = None
    missing: list[str] = []
    problems: list[str] = []
    num_runs = 0
    for model in curve_set.models:
        rows = []
        for run in curve_set.best_runs(model):
            num_runs += 1
            folder = _find_folder(run.path)
            path = f"{folder}/{PREDICTIONS}"
            is_alone = len({(r.model, r.seed) for r in runs_in[folder]}) == 1
            if not is_alone or not storage.exists(path):
                missing.append(f"{run.model}, seed {run.seed}")
                continue
            try:
                predicted = read_run(path)
                _check_run(predicted, run, curve_set, keys)
            except UsageError as error:
                problems.append(f"{path}: {error}")
                continue
            keys = predicted.keys
            rows.append(predicted.correct)
        if rows:
            shares.append(np.mean(rows, axis=0))
    if not missing and not problems:
        return Correctness(np.stack(shares))
    notes = [f"{text}; pairs are compared by accuracy" for text in problems[:_SHOWN]]
    if 0 < len(missing) < num_runs:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        notes.append(
            f"{curve_set.name}: {PREDICTIONS} is missing beside the curves of "
            f"{'; '.join(missing[:_SHOWN])}{more}; pairs are compared by accuracy"
        )
    return Correctness(None, tuple(notes))


def _find_folder(path: str) -> str:
    """Return the folder of a local or remote file."""
    return path.rpartition("/")[0] or "."


def _group_by_folder(curve_set: CurveSet) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for run in curve_set.runs:
        runs.setdefault(_find_folder(run.path), []).append(run)
    return runs


def _check_run(
    predicted: RunCorrectness,
    run: Run,
    curve_set: CurveSet,
    keys: tuple[str, ...] | None,
) -> None:
    """Check that predictions belong to a run and cover the same images as earlier runs.

    Args:
      predicted: per-image correctness according to the predictions.
      run: the run whose curve is evaluated.
      curve_set: the set that contains the run.
      keys: image keys of the earlier runs, sorted; None for the first run.

    Raises:
      UsageError: the predictions have another accuracy, training set or images.
    """
    if len(predicted.keys) != curve_set.validation_images:
        raise UsageError(
            f"has {len(predicted.keys)} images, the curves "
            f"{curve_set.validation_images}"
        )
    accuracy = float(predicted.correct.mean())
    if abs(accuracy - run.final) > MAX_DIFFERENCE:
        raise UsageError(
            f"its accuracy is {accuracy:.4f}, but the curve's is {run.final:.4f}: it "
            "is of another run"
        )
    if predicted.subset_id not in {"", curve_set.subset_id}:
        raise UsageError(f"is of a model trained on {predicted.subset_id}")
    if keys is not None and keys != predicted.keys:
        raise UsageError("has other images than the earlier models")
