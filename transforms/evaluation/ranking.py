"""Compare model rankings on the full set and a subset.

The models are in the same order on both sets. Accuracies are 0 to 1; rank statistics
accept scores in any unit. An undefined statistic, such as the correlation of models
that all tie, is None, never NaN.
"""

from typing import NamedTuple

import numpy as np

from transforms import seeds
from transforms.arrays import BoolArray, FloatArray
from transforms.evaluation import significance
from transforms.evaluation.significance import PairTests

MIN_MODELS = 3  # a resample of two models either keeps their order or has only ties
_CONFIDENCE = 0.95
_MAX_BLOCKS = 100


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether `high` exceeds `low`.

        A zero width means that all resamples agree; with few models, this is no
        evidence of a precise estimate.
        """
        return self.high > self.low


class RankAgreement(NamedTuple):
    """Agreement of two rankings of the same models.

    Attributes:
      num_models: number of models.
      tau: Kendall's τ-b; None if all models tie on a set.
      tau_interval: 95 % confidence interval of `tau` over the choice of models.
      spearman: Spearman's rank correlation.
      top_half_tau: τ-b of the better half of the models, as ranked by the full set.
      regret: best accuracy on the full set minus the accuracy there of the model that
        is best on the subset.
    """

    num_models: int
    tau: float | None
    tau_interval: Interval | None
    spearman: float | None
    top_half_tau: float | None
    regret: float


class PairAgreement(NamedTuple):
    """Agreement of the full set and a subset on pairs of models.

    A pair is decided on a set if its difference is significant there.

    Attributes:
      num_pairs: number of pairs of models.
      decided_full: number of pairs decided on the full set.
      decided_subset: number of pairs decided on the subset.
      sign_agreement: share of the pairs decided on the full set that have the same
        order on the subset.
      resolving_power: share of the pairs decided on the full set that are decided with
        the same sign on the subset.
      noise_ceiling: expected τ if sampling noise were the subset's only error.
      contrary: pairs decided on the full set that have the opposite order or tie on
        the subset, as positions (better, worse) on the full set.
      reversed: pairs of `contrary` that are decided with the opposite sign on the
        subset.
    """

    num_pairs: int
    decided_full: int
    decided_subset: int
    sign_agreement: float | None
    resolving_power: float | None
    noise_ceiling: float | None
    contrary: tuple[tuple[int, int], ...]
    reversed: tuple[tuple[int, int], ...]


def compare_ranks(
    full: FloatArray, subset: FloatArray, *, seed: int = 0
) -> RankAgreement:
    """Compare two rankings of models.

    Args:
      full: shape (models,), scores on the full set in any unit; higher is better.
      subset: shape (models,), scores on the subset.
      seed: seed of the bootstrap confidence interval.
    """
    return RankAgreement(
        num_models=len(full),
        tau=kendall_tau(full, subset),
        tau_interval=bootstrap_tau(full, subset, seed=seed),
        spearman=spearman(full, subset),
        top_half_tau=top_half_tau(full, subset),
        regret=top1_regret(full, subset),
    )


def compare_pairs(
    full: PairTests, subset: PairTests, *, ceiling: float | None = None
) -> PairAgreement:
    """Compare the significant pairs of two sets.

    Args:
      full: tests on the full set.
      subset: tests of the same models on the subset.
      ceiling: the noise ceiling; by default estimated by `expected_tau` from the
        accuracies.
    """
    signs = np.sign(subset.accuracies[:, np.newaxis] - subset.accuracies)
    is_contrary = (full.decisions == 1) & (signs != 1)
    is_reversed = (full.decisions == 1) & (subset.decisions == -1)
    if ceiling is None:
        differences = full.accuracies[:, np.newaxis] - full.accuracies
        ceiling = significance.expected_tau(differences, subset.spread)
    return PairAgreement(
        num_pairs=full.num_pairs,
        decided_full=full.num_decided,
        decided_subset=subset.num_decided,
        sign_agreement=significance.sign_agreement(full.decisions, subset.accuracies),
        resolving_power=significance.resolving_power(full.decisions, subset.decisions),
        noise_ceiling=ceiling,
        contrary=tuple((int(a), int(b)) for a, b in np.argwhere(is_contrary)),
        reversed=tuple((int(a), int(b)) for a, b in np.argwhere(is_reversed)),
    )


def kendall_tau(first: FloatArray, second: FloatArray) -> float | None:
    """Compute Kendall's τ-b, the rank correlation that allows for ties.

    (concordant − discordant) / √(pairs untied in first × pairs untied in second)

    Args:
      first: shape (models,).
      second: shape (models,).

    Returns:
      −1 to 1; None when all models tie on a set, or with fewer than two models.

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 1945.
    """
    _check_shapes(first, second)
    tau = float(_weighted_taus(first, second, np.ones((1, len(first))))[0])
    return None if np.isnan(tau) else tau


def _weighted_taus(
    first: FloatArray, second: FloatArray, counts: FloatArray
) -> FloatArray:
    """Compute τ-b of resamples of the models.

    Copies of a model tie in both rankings and so add 0. All sums are of integers and
    therefore exact.

    Args:
      first: shape (models,), scores.
      second: shape (models,), scores.
      counts: shape (draws, models), how often each resample contains each model.

    Returns:
      Shape (draws,), NaN where τ-b is undefined.
    """
    signs_1 = np.sign(first[:, np.newaxis] - first)
    signs_2 = np.sign(second[:, np.newaxis] - second)
    concordance, untied_1, untied_2 = (
        ((counts @ pairs) * counts).sum(axis=1)
        for pairs in (signs_1 * signs_2, np.abs(signs_1), np.abs(signs_2))
    )
    root = np.sqrt(untied_1 * untied_2)
    return np.divide(
        concordance, root, out=np.full(len(counts), np.nan), where=root > 0
    )


def spearman(first: FloatArray, second: FloatArray) -> float | None:
    """Compute Spearman's rank correlation; tied models get their mean rank.

    Args:
      first: shape (models,).
      second: shape (models,).

    Returns:
      −1 to 1; None when all models tie on a set, or with fewer than two models.

    Source: Spearman, "The proof and measurement of association …", 1904.
    """
    from scipy import stats  # noqa: PLC0415  # slower to import than Beam

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

    Source: simple regret, as in bandits and architecture search.
    """
    _check_shapes(full, subset)
    regrets = full.max() - full[subset == subset.max()]
    return float(regrets.mean())


def bootstrap_tau(
    first: FloatArray, second: FloatArray, *, seed: int = 0, num_draws: int = 1000
) -> Interval | None:
    """Estimate a 95 % confidence interval of τ-b over the choice of models.

    Models are resampled, not images: a percentile interval over images is biased low,
    since a resample has fewer distinct images and so more noise.

    Args:
      first: shape (models,).
      second: shape (models,).
      seed: seed of the resamples.
      num_draws: number of resamples, each as large as the list of models.

    Returns:
      The central 95 % of τ-b over the resamples in which it is defined; None with
      fewer than three models, or if all models tie on a set.

    Source: Efron, percentile method (1979).
    """
    _check_shapes(first, second)
    num_models = len(first)
    if num_models < MIN_MODELS or kendall_tau(first, second) is None:
        return None
    keys = (f"models|{draw}" for draw in range(num_draws * num_models))
    drawn = seeds.orders(seed, "draw", keys).reshape(num_draws, num_models) % num_models
    counts = np.zeros((num_draws, num_models))
    np.add.at(counts, (np.arange(num_draws)[:, np.newaxis], drawn), 1)
    taus = _weighted_taus(first, second, counts)
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(taus[~np.isnan(taus)], [tail, 1 - tail])
    return Interval(float(low), float(high))


def noise_ceiling(
    correct: BoolArray, num_images: int, *, seed: int = 0
) -> float | None:
    """Measure the noise ceiling: the mean τ-b of random subsets of a given size.

    The images are split into disjoint blocks in hash order. The ranking on each block
    is compared with the ranking on all other images.

    Args:
      correct: shape (models, images), per-image correctness on the full set.
      num_images: number of images in a block, equal to that of the subset.
      seed: seed of the order of the images.

    Returns:
      The mean τ-b of at most 100 blocks; None if a block would contain more than half
      of the images (or none), or if all models tie.

    Source: this project; a random subset that keeps all classes has no other error.
    """
    total = correct.shape[1]
    if not 0 < num_images <= total // 2:
        return None
    keys = (f"images|{image}" for image in range(total))
    order = np.argsort(seeds.orders(seed, "draw", keys), kind="stable")
    num_blocks = min(total // num_images, _MAX_BLOCKS)
    blocks = order[: num_blocks * num_images].reshape(num_blocks, num_images)
    num_correct = correct.sum(axis=1, dtype=np.float64)
    taus = []
    for block in blocks:
        inside = correct[:, block].sum(axis=1, dtype=np.float64)
        taus.append(kendall_tau(inside, num_correct - inside))
    defined = [tau for tau in taus if tau is not None]
    return float(np.mean(defined)) if defined else None


def _check_shapes(first: FloatArray, second: FloatArray) -> None:
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"shapes {first.shape}, {second.shape} are not (models,) each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("accuracies must be finite")
