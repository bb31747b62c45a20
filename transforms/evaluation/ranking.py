"""Compare model rankings on the full set and a subset.

The models are in the same order on both sets. Accuracies are 0 to 1; rank statistics
accept scores in any unit. An undefined statistic, such as the correlation of models
that all tie, is None, never NaN.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from transforms.arrays import FloatArray, IntArray
from transforms.evaluation import discordance, significance
from transforms.evaluation.discordance import Interval
from transforms.evaluation.significance import PairTests

MIN_MODELS = 3  # two models are a single pair, too few for an interval
ENOUGH_MODELS = 6


def warn_of_few(num_models: int) -> Iterator[str]:
    """Yield a warning if a ranking has fewer models than a correlation needs."""
    if num_models < ENOUGH_MODELS:
        yield (
            f"{num_models} models are few: with less than {ENOUGH_MODELS} a rank "
            "correlation is unreliable"
        )


class RankAgreement(NamedTuple):
    """Agreement of two rankings of the same models.

    Attributes:
      num_models: number of models.
      tau: Kendall's τ-b; None if all models tie on a set.
      tau_interval: 95 % confidence interval of `tau` over the choice of models; None if
        `tau` is None, or with fewer than three models.
      spearman: Spearman's rank correlation; None if `tau` is None.
      top_half_tau: τ-b of the better half of the models, as ranked by the full set;
        None if it is undefined.
      regret: best accuracy on the full set minus the accuracy there of the model that
        is best on the subset.
    """

    num_models: int
    tau: float | None
    tau_interval: Interval | None
    spearman: float | None
    top_half_tau: float | None
    regret: float


class TauEstimate(NamedTuple):
    """τ-b of a subset, averaged over its random repetitions.

    Attributes:
      tau: mean of the defined values of τ-b; None if there are none.
      interval: 95 % confidence interval of `tau` over the choice of models; None if
        `tau` is None, or with fewer than three models.
      deviation: standard deviation between repetitions; None with one.
    """

    tau: float | None
    interval: Interval | None
    deviation: float | None


class PairAgreement(NamedTuple):
    """Agreement of the full set and a subset on pairs of models.

    A pair is significant on a set if its difference is, after Holm's correction for
    the number of pairs if the tests are corrected.

    Attributes:
      num_pairs: number of pairs of models.
      significant_full: number of pairs significant on the full set.
      significant_subset: number of pairs significant on the subset.
      sign_agreement: share of the pairs significant on the full set with the same
        order on the subset; None if there are none.
      resolving_power: share of the pairs significant on the full set that are also
        significant, with the same sign, on the subset; None if there are none.
      noise_ceiling: τ-b of a subset whose only error is noise; None if it is undefined.
      contrary: pairs significant on the full set that have the opposite order or tie on
        the subset, as positions (better, worse) on the full set.
      reversed: pairs of `contrary` that are significant with the opposite sign on the
        subset.
    """

    num_pairs: int
    significant_full: int
    significant_subset: int
    sign_agreement: float | None
    resolving_power: float | None
    noise_ceiling: float | None
    contrary: tuple[tuple[int, int], ...]
    reversed: tuple[tuple[int, int], ...]


def compare_ranks(
    full: FloatArray, subset: FloatArray, *, families: Sequence[str]
) -> RankAgreement:
    """Compare two rankings of models.

    Args:
      full: shape (models,), scores on the full set in any unit; higher is better.
      subset: shape (models,), scores on the subset.
      families: the family of each model.
    """
    estimate = estimate_tau(full, [subset], families=families)
    return RankAgreement(
        num_models=len(full),
        tau=estimate.tau,
        tau_interval=estimate.interval,
        spearman=spearman(full, subset),
        top_half_tau=top_half_tau(full, subset),
        regret=top1_regret(full, subset),
    )


def compare_pairs(
    full: PairTests, subset: PairTests, *, ceiling: float | None
) -> PairAgreement:
    """Compare the significant pairs of two sets.

    Args:
      full: tests on the full set.
      subset: tests of the same models on the subset.
      ceiling: the noise ceiling; see `ceilings`.
    """
    signs = np.sign(subset.accuracies[:, np.newaxis] - subset.accuracies)
    is_contrary = (full.decisions == 1) & (signs != 1)
    is_reversed = (full.decisions == 1) & (subset.decisions == -1)
    return PairAgreement(
        num_pairs=full.num_pairs,
        significant_full=full.num_significant,
        significant_subset=subset.num_significant,
        sign_agreement=significance.sign_agreement(full.decisions, subset.accuracies),
        resolving_power=significance.resolving_power(full.decisions, subset.decisions),
        noise_ceiling=ceiling,
        contrary=tuple((int(a), int(b)) for a, b in np.argwhere(is_contrary)),
        reversed=tuple((int(a), int(b)) for a, b in np.argwhere(is_reversed)),
    )


def kendall_tau(
    first: FloatArray | IntArray, second: FloatArray | IntArray
) -> float | None:
    """Compute Kendall's τ-b, the rank correlation that allows for ties.

    (concordant − discordant) / √(pairs untied in first × pairs untied in second)

    Args:
      first: shape (models,).
      second: shape (models,).

    Returns:
      −1 to 1; None when all models tie on a set, or with fewer than two models.

    Raises:
      ValueError: the shapes differ, or a score is not finite.

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 1945.
    """
    _check_shapes(first, second)
    signs_1 = np.sign(first[:, np.newaxis] - first)
    signs_2 = np.sign(second[:, np.newaxis] - second)
    untied = np.count_nonzero(signs_1) * np.count_nonzero(signs_2)
    # Signs are integers, so the sum is exact.
    return float((signs_1 * signs_2).sum()) / math.sqrt(untied) if untied else None


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def mean_tau(full: FloatArray, subset: FloatArray) -> float | None:
    """Average τ-b over all pairs of repetitions for which it is defined.

    Args:
      full: shape (models,) or (repetitions, models).
      subset: shape (models,) or (repetitions, models).

    Returns:
      The mean; None if τ-b is undefined for every pair.
    """
    return mean(
        kendall_tau(first, second)
        for first in np.atleast_2d(full)
        for second in np.atleast_2d(subset)
    )


def estimate_tau(
    full: FloatArray, draws: Sequence[FloatArray], *, families: Sequence[str]
) -> TauEstimate:
    """Estimate the mean τ-b of random repetitions of a subset, with an interval.

    Args:
      full: shape (models,) or (repetitions, models), scores on the full set; higher is
        better. τ-b is averaged over its repetitions.
      draws: one or more repetitions of the subset, each of shape (models,), or
        (seeds, models) to average τ-b over its seeds.
      families: the family of each model; see `discordance.bound_tau`.
    """
    taus = [t for draw in draws if (t := mean_tau(full, draw)) is not None]
    if (tau := mean(taus)) is None:
        return TauEstimate(None, None, None)
    interval = None
    if full.shape[-1] >= MIN_MODELS:
        discordant = [discordance.find_mean_discordance(full, draw) for draw in draws]
        interval = discordance.bound_tau(np.mean(discordant, axis=0), families)
    if interval is not None:  # with ties, τ-b may exceed τ
        interval = Interval(min(interval.low, tau), max(interval.high, tau))
    deviation = float(np.std(taus, ddof=1)) if len(taus) > 1 else None
    return TauEstimate(tau, interval, deviation)


def spearman(first: FloatArray, second: FloatArray) -> float | None:
    """Compute Spearman's rank correlation; tied models get their mean rank.

    Args:
      first: shape (models,).
      second: shape (models,).

    Returns:
      −1 to 1; None when all models tie on a set, or with fewer than two models.

    Raises:
      ValueError: the shapes differ, or a score is not finite.

    Source: Spearman, "The proof and measurement of association between two things",
      American Journal of Psychology 1904.
    """
    from scipy import stats

    _check_shapes(first, second)
    if not (_has_order(first) and _has_order(second)):
        return None
    return float(stats.spearmanr(first, second).statistic)


def _has_order(accuracies: FloatArray) -> bool:
    return len(accuracies) > 1 and bool(np.ptp(accuracies) > 0)


def top_half_tau(full: FloatArray, subset: FloatArray) -> float | None:
    """Compute τ-b of the better half of the models.

    Args:
      full: shape (models,); the better half is its best ⌈models/2⌉ models and those
        that tie with the last of them.
      subset: shape (models,).

    Returns:
      τ-b of these models; None as in `kendall_tau`.

    Raises:
      ValueError: the shapes differ, or a score is not finite.

    Source: this project; in practice, one selects among the better models.
    """
    _check_shapes(full, subset)
    if not len(full):
        return None
    is_better = full >= np.sort(full)[len(full) // 2]
    return kendall_tau(full[is_better], subset[is_better])


def top1_regret(full: FloatArray, subset: FloatArray) -> float:
    """Compute the regret of selecting the model that is best on the subset.

    Args:
      full: shape (models,), at least one model.
      subset: shape (models,); if several models tie as best, their regrets are
        averaged.

    Returns:
      The best accuracy on the full set minus that of the selected model, ≥ 0, in the
      unit of `full`.

    Raises:
      ValueError: the shapes differ, or a score is not finite.

    Source: simple regret, as in bandits and architecture search.
    """
    _check_shapes(full, subset)
    regrets = full.max() - full[subset == subset.max()]
    return float(regrets.mean())


def _check_shapes(first: FloatArray | IntArray, second: FloatArray | IntArray) -> None:
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"shapes {first.shape}, {second.shape} are not (models,) each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("accuracies must be finite")
