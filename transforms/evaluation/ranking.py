"""Accuracies of models on two sets → how well one ranks the models as the other does.

Models lie along the first axis, in the same order on both sets; accuracies are 0 to 1,
or in percent where only their order counts. What is not defined, as a correlation of
models that all tie, is None, never NaN.
"""

from typing import NamedTuple

import numpy as np

from transforms import seeds
from transforms.arrays import BoolArray, FloatArray
from transforms.evaluation import significance
from transforms.evaluation.significance import PairTests

MIN_MODELS = 3  # of two, every resample ranks as the whole or not at all
_CONFIDENCE = 0.95
_MAX_BLOCKS = 100


class Interval(NamedTuple):
    """Where a figure lies, with 95 % confidence."""

    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether draws differ: what all agree on is no proof when models are few."""
        return self.high > self.low


def kendall_tau(first: FloatArray, second: FloatArray) -> float | None:
    """Correlate two orders of models: Kendall's τ-b, which allows for ties.

    (concordant − discordant) / √(pairs untied in first × pairs untied in second)

    Args:
      first: shape (models,).
      second: shape (models,).
    Returns: −1 to 1; None when all models tie on a set, as one or none does.
    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 1945.
    """
    _check_pair(first, second)
    tau = float(_taus(first, second, np.ones((1, len(first))))[0])
    return None if np.isnan(tau) else tau


def _taus(first: FloatArray, second: FloatArray, counts: FloatArray) -> FloatArray:
    """Compute τ-b of models that stand several times, NaN where it is not defined.

    counts: shape (draws, models). A pair of one model and itself ties on both sets and
    so counts nowhere. All sums are of whole numbers, hence exact.
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
    """Correlate the ranks of models: Spearman's, ties sharing a rank.

    Args:
      first: shape (models,).
      second: shape (models,).
    Returns: −1 to 1; None when all models tie on a set, as one or none does.
    Source: Spearman, "The proof and measurement of association …", 1904.
    """
    from scipy import stats  # noqa: PLC0415  # slower to import than Beam

    _check_pair(first, second)
    if not (_has_order(first) and _has_order(second)):
        return None
    return float(stats.spearmanr(first, second).statistic)


def _has_order(accuracies: FloatArray) -> bool:
    return len(accuracies) > 1 and bool(np.ptp(accuracies) > 0)


def top_half_tau(full: FloatArray, subset: FloatArray) -> float | None:
    """Correlate the orders of the better half of the models, which matter most.

    Args:
      full: shape (models,); the best ⌈models/2⌉ are kept, and what ties with the last.
      subset: shape (models,).
    Returns: τ-b of these, as `kendall_tau`.
    Source: ours: who picks a model picks among the better ones.
    """
    _check_pair(full, subset)
    if not len(full):
        return None
    kept = full >= np.sort(full)[len(full) // 2]
    return kendall_tau(full[kept], subset[kept])


def top1_regret(full: FloatArray, subset: FloatArray) -> float:
    """Tell what is lost by taking the model that is best on the subset.

    Args:
      full: shape (models,), at least one.
      subset: shape (models,). Where several are best, the mean of their losses counts.
    Returns: The best accuracy on the full set less that of the model taken, ≥ 0, in
      the unit of `full`.
    Source: "simple regret" of bandits and of architecture search.
    """
    _check_pair(full, subset)
    losses = full.max() - full[subset == subset.max()]
    return float(losses.mean())


def bootstrap_tau(
    first: FloatArray, second: FloatArray, *, seed: int = 0, num_draws: int = 1000
) -> Interval | None:
    """Tell how far τ-b would move had other models been at hand.

    Models are drawn with replacement, not images: a percentile interval over images is
    biased low, since a resample has fewer distinct images and so more noise.

    Args:
      first: shape (models,).
      second: shape (models,).
      seed: what the draws are hashed from.
      num_draws: how often as many models as there are are drawn.
    Returns: The middle 95 % of the draws in which τ-b is defined; None of fewer than
      three models, or when all tie on a set.
    Source: Efron, percentile method (1979).
    """
    _check_pair(first, second)
    num_models = len(first)
    if num_models < MIN_MODELS or kendall_tau(first, second) is None:
        return None
    keys = (f"models|{draw}" for draw in range(num_draws * num_models))
    drawn = seeds.orders(seed, "draw", keys).reshape(num_draws, num_models) % num_models
    counts = np.zeros((num_draws, num_models))
    np.add.at(counts, (np.arange(num_draws)[:, np.newaxis], drawn), 1)
    taus = _taus(first, second, counts)
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(taus[~np.isnan(taus)], [tail, 1 - tail])
    return Interval(float(low), float(high))


def noise_ceiling(
    correct: BoolArray, num_images: int, *, seed: int = 0
) -> float | None:
    """Tell what τ-b a set of so few images reaches when only chance tells it apart.

    The images are put in hash order and cut into disjoint blocks; each block's order
    of the models is correlated with that of all images outside it.

    Args:
      correct: shape (models, images), on the full set.
      num_images: how many the subset has.
      seed: what the order of the images is hashed from.
    Returns: The mean τ-b of at most 100 blocks; None when not half of the images would
      be left to compare with, or all models tie.
    Source: ours: a random subset of all classes, scored finely, loses by chance only.
    """
    total = correct.shape[1]
    if not 0 < num_images <= total // 2:
        return None
    keys = (f"images|{image}" for image in range(total))
    order = np.argsort(seeds.orders(seed, "draw", keys), kind="stable")
    num_blocks = min(total // num_images, _MAX_BLOCKS)
    blocks = order[: num_blocks * num_images].reshape(num_blocks, num_images)
    right = correct.sum(axis=1, dtype=np.float64)
    taus = []
    for block in blocks:
        inside = correct[:, block].sum(axis=1, dtype=np.float64)
        taus.append(kendall_tau(inside, right - inside))
    defined = [tau for tau in taus if tau is not None]
    return float(np.mean(defined)) if defined else None


def _check_pair(first: FloatArray, second: FloatArray) -> None:
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"shapes {first.shape}, {second.shape} are not (models,) each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("accuracies must be finite")


class RankAgreement(NamedTuple):
    """How alike two orders of the same models are.

    Attributes:
      tau: Kendall's τ-b; None when all models tie on a set.
      tau_interval: 95 %, had other models been at hand.
      spearman: of the ranks.
      top_half_tau: τ-b among the better half on the full set.
      regret: what the model that is best on the subset lacks on the full set.
    """

    num_models: int
    tau: float | None
    tau_interval: Interval | None
    spearman: float | None
    top_half_tau: float | None
    regret: float


class PairAgreement(NamedTuple):
    """What becomes of the pairs that the full set tells apart.

    Attributes:
      num_pairs: of models.
      decided_full: of these, told apart by the full set.
      decided_subset: told apart by the subset.
      sign_agreement: share of `decided_full` with the same sign on the subset.
      resolving_power: share of `decided_full` decided the same on the subset.
      noise_ceiling: the τ that the subset would reach were only its noise in the way.
      contrary: decided on the full set, with another sign (or none) on the subset, as
        (better, worse) on the full set.
      reversed: those of `contrary` that the subset decides the other way.
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
    """Compare two orders of models.

    Args:
      full: shape (models,), any score that is better when it is higher.
      subset: shape (models,).
      seed: what the interval's draws are hashed from.
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
    """Compare which pairs two sets tell apart.

    Args:
      full: the pairs on the full set.
      subset: the same models' on the subset.
      ceiling: the noise ceiling; without it that of the accuracies.
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
