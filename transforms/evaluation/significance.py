"""Accuracies of models → which pairs a set of images tells apart, and which it keeps.

A pair is decided when its difference is larger than chance explains: |z| > 1.96. The
decisions of all pairs are a square array: entry (a, b) is 1 where a is better, −1 where
b is, and 0 where the pair is not decided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.arrays import BoolArray, FloatArray

SignArray = npt.NDArray[np.int8]

Z_95 = 1.96  # two-sided, 95 %


def decide_pairs_deciding(correct: BoolArray) -> SignArray:
    """Decide all pairs of models by McNemar's test on the same images.

    z = (b − c) / √(b + c), with b images right for the first only, c for the second.

    Args: correct: shape (models, images).
    Returns: The decisions, shape (models, models).
    Source: McNemar, Psychometrika 1947; without correction for continuity.
    """
    only_first = _count_only_first(correct)
    difference = only_first - only_first.T
    spread = np.sqrt(only_first + only_first.T)
    return (np.sign(difference) * (np.abs(difference) > Z_95 * spread)).astype(np.int8)


def _count_only_first(correct: BoolArray) -> FloatArray:
    """Count the images that a is right on and b is not, shape (models, models)."""
    ones = correct.astype(np.float32)  # whole numbers, exact up to 2²⁴ images
    both = (ones @ ones.T).astype(np.float64)
    return np.diagonal(both)[:, np.newaxis] - both


def decided(correct_a: BoolArray, correct_b: BoolArray) -> int:
    """Decide one pair of models by McNemar's test, as `decide_pairs`.

    Args:
      correct_a: shape (images,).
      correct_b: shape (images,), the same images.
    Returns: 1: a is better; −1: b is; 0: not decided.
    """
    return int(decide_pairs_deciding(np.stack([correct_a, correct_b]))[0, 1])


def decide_pairs_unpaired(accuracies: FloatArray, num_images: int) -> SignArray:
    """Decide all pairs of models of which only the accuracies are known.

    z = Δ / √(p(1−p)/n + q(1−q)/n). It takes errors for independent, so that it decides
    fewer pairs than McNemar's test, which sees that models fail on the same images.

    Args:
      accuracies: shape (models,), 0 to 1.
      num_images: n, how many each was measured on.
    Returns: The decisions, shape (models, models).
    Source: the two-sample z test of proportions.
    """
    if not ((accuracies >= 0) & (accuracies <= 1)).all() or num_images < 1:
        raise ValueError("accuracies must be 0 to 1, of at least one image")
    difference = accuracies[:, np.newaxis] - accuracies
    variance = accuracies * (1 - accuracies) / num_images
    spread = np.sqrt(variance[:, np.newaxis] + variance)
    return (np.sign(difference) * (np.abs(difference) > Z_95 * spread)).astype(np.int8)


def sign_agreement(full: SignArray, subset: FloatArray) -> float | None:
    """Tell of how many decided pairs the subset has the order.

    Args:
      full: decisions on the full set, shape (models, models).
      subset: accuracies on the subset, shape (models,); a tie is no agreement.
    Returns: The share of the pairs decided on the full set, 0 to 1: at 1 the ranks are
      preserved. None when no pair is decided.
    Source: ours: only pairs that the full set tells apart can be kept or lost.
    """
    return _share_kept(full, np.sign(subset[:, np.newaxis] - subset).astype(np.int8))


def resolving_power(full: SignArray, subset: SignArray) -> float | None:
    """Tell of how many decided pairs the subset decides the same.

    Args:
      full: decisions on the full set, shape (models, models).
      subset: decisions on the subset, shape (models, models).
    Returns: The share of the pairs decided on the full set, 0 to 1; None when none is.
    Source: ours: only pairs that the full set tells apart can be kept or lost.
    """
    return _share_kept(full, subset)


def _share_kept(full: SignArray, subset: SignArray) -> float | None:
    if full.shape != subset.shape:
        raise ValueError(f"of {full.shape} and {subset.shape} models, not the same")
    num_decided = int(np.count_nonzero(full))
    num_kept = int(np.count_nonzero((full != 0) & (full == subset)))
    return num_kept / num_decided if num_decided else None


def smallest_gap(num_images: int, *, accuracy: float) -> float:
    """Tell what difference so many images decide when only accuracies are known.

    Args:
      num_images: how many each of two models was measured on.
      accuracy: of both, about, 0 to 1.
    Returns: The difference of accuracies at |z| = 1.96: 1.96 √(2p(1−p)/n).
    Source: `decide_pairs_unpaired`, solved for Δ.
    """
    return float(Z_95 * np.sqrt(2 * accuracy * (1 - accuracy) / num_images))


def smallest_paired_gap(num_images: int, *, disagreement: float) -> float:
    """Tell what difference so many images decide by McNemar's test.

    Args:
      num_images: how many the subset has.
      disagreement: on which share of images one model of two is right, 0 to 1.
    Returns: The difference of accuracies at |z| = 1.96: 1.96 √(d/n).
    Source: `decide_pairs`, solved for (b − c)/n with d = (b + c)/n.
    """
    return float(Z_95 * np.sqrt(disagreement / num_images))


def disagreement(correct: BoolArray) -> float | None:
    """Tell on which share of the images exactly one model of a pair is right.

    Args: correct: shape (models, images).
    Returns: The mean over all pairs, 0 to 1; None without a pair or an image.
    """
    num_models, num_images = correct.shape
    num_pairs = num_models * (num_models - 1)  # each in both orders
    if not num_pairs or not num_images:
        return None
    either = 2 * float(_count_only_first(correct).sum())
    return either / num_pairs / num_images


class SeedNoise(NamedTuple):
    """How far accuracies move from one seed to the next, all models taken together.

    Attributes:
      variance: of the accuracy of one seed.
      degrees: of freedom, Σ (seeds − 1).
      num_seeds: shape (models,).
    """

    variance: float
    degrees: int
    num_seeds: FloatArray


class PairTests(NamedTuple):
    """All pairs of models on one set.

    Attributes:
      accuracies: shape (models,).
      errors: shape (models,), the standard error of each accuracy.
      spread: shape (models, models), that of each difference.
      decisions: as `deciding`: 1 where the first is better, −1 the second, 0 neither.
      is_paired: whether models were compared image by image.
    """

    accuracies: FloatArray
    errors: FloatArray
    spread: FloatArray
    decisions: SignArray
    is_paired: bool

    @property
    def num_pairs(self) -> int:
        """How many pairs there are."""
        return len(self.accuracies) * (len(self.accuracies) - 1) // 2

    @property
    def num_decided(self) -> int:
        """How many of them are decided."""
        return int(np.count_nonzero(self.decisions)) // 2


def measure_seed_noise(finals: Sequence[Sequence[float]]) -> SeedNoise | None:
    """Pool the variance between seeds over models.

    Args: finals: of each model, its final accuracies by seed.
    Returns: The noise; None when no model has two seeds.
    Source: the pooled variance: a model's own, of two seeds or three, is too uncertain.
    """
    num_seeds = np.array([len(own) for own in finals], dtype=np.float64)
    degrees = int(num_seeds.sum()) - len(finals)
    if not degrees:
        return None
    squares = sum(float(np.sum((np.array(own) - np.mean(own)) ** 2)) for own in finals)
    return SeedNoise(squares / degrees, degrees, num_seeds)


def decide_pairs_pairs(
    accuracies: FloatArray,
    num_images: int,
    *,
    shares: FloatArray | BoolArray | None = None,
    noise: SeedNoise | None = None,
) -> PairTests:
    """Decide all pairs of models: |Δ| > 1.96 standard errors.

    The variance of Δ is that of the images, p(1−p)/n + q(1−q)/n, or Σ(difference on an
    image)²/n² where images are known, plus that of the seeds, s²/seeds of each model.
    With one seed these are the tests of `deciding`. With several, 1.96 becomes what
    Student's t asks for at the degrees of freedom of the sum, since s² is uncertain.

    Args:
      accuracies: shape (models,), 0 to 1, means over seeds.
      num_images: how many each was measured on.
      shares: shape (models, images), the share of the seeds that are right.
      noise: between seeds.
    Source: McNemar 1947; Welch, Biometrika 1947, and Satterthwaite, Biometrics Bulletin
      1946, for the degrees of freedom.
    """
    single = accuracies * (1 - accuracies) / num_images
    if shares is None:
        from_images = single[:, np.newaxis] + single
    else:
        wide = shares.astype(np.float64)
        both = wide @ wide.T
        own = np.diagonal(both)
        squares = own[:, np.newaxis] + own - 2 * both
        from_images = np.maximum(squares, 0) / num_images**2
    seeds = np.zeros(len(accuracies))
    degrees = np.inf
    if noise is not None:
        seeds, degrees = noise.variance / noise.num_seeds, noise.degrees
    from_seeds = seeds[:, np.newaxis] + seeds
    variance = from_images + from_seeds
    # Of the curves, also where images are known: no pair is decided against them.
    difference = accuracies[:, np.newaxis] - accuracies
    limit = _find_limit(variance, from_seeds, degrees)
    spread = np.sqrt(variance)
    is_decided = np.abs(difference) > limit * spread
    return PairTests(
        accuracies,
        np.sqrt(single + seeds),
        spread,
        (np.sign(difference) * is_decided).astype(np.int8),
        is_paired=shares is not None,
    )


def _find_limit(
    variance: FloatArray, from_seeds: FloatArray, degrees: float
) -> FloatArray:
    """Return how many standard errors decide a pair."""
    from scipy import stats  # noqa: PLC0415  # slower to import than Beam

    share = np.divide(
        from_seeds, variance, out=np.zeros_like(variance), where=variance > 0
    )
    with np.errstate(divide="ignore"):
        effective = degrees / share**2
    return np.maximum(Z_95, stats.t.ppf(0.975, effective))


def expected_tau(differences: FloatArray, spread: FloatArray) -> float | None:
    """Tell what τ a set reaches when only its noise stands between it and the truth.

    A pair keeps its order with probability Φ(z), z = |Δ|/spread, so that it adds
    2Φ(z) − 1.

    Args:
      differences: shape (models, models), the true ones: those of the full set.
      spread: shape (models, models), standard errors of the differences on the subset.
    Returns: The mean over pairs; None without a pair.
    Source: ours: the noise ceiling where single images are not known.
    """
    from scipy import stats  # noqa: PLC0415  # slower to import than Beam

    upper = np.triu_indices(len(differences), 1)
    if not len(upper[0]):
        return None
    size, noise = np.abs(differences[upper]), spread[upper]
    z = np.divide(size, noise, out=np.where(size > 0, np.inf, 0.0), where=noise > 0)
    return float(np.mean(2 * stats.norm.cdf(z) - 1))


TYPICAL_ACCURACY = 0.76
# Of 64 models of ImageNet two disagree on 0.117 of the images, where errors that knew
# nothing of each other would give 2p(1−p) = 0.365.
_TYPICAL_RATIO = 0.32


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a validation set can tell; gaps are differences of accuracy at 95 %.

    Attributes:
      standard_error: of one accuracy.
      paired_gap: the smallest that is told when models answer the same images.
      unpaired_gap: when only the accuracies are known.
      images_per_group: on average.
      group_gap: as `paired_gap`, of the accuracies within one group.
    """

    standard_error: float
    paired_gap: float
    unpaired_gap: float
    images_per_group: float
    group_gap: float


def typical_disagreement(accuracy: float) -> float:
    """Return on which share of images exactly one of two such models is right, about.

    Args: accuracy: of both, 0 to 1.
    """
    return _TYPICAL_RATIO * 2 * accuracy * (1 - accuracy)


def measure_power(
    num_validation: int,
    num_groups: int,
    *,
    accuracy: float = TYPICAL_ACCURACY,
    disagreement: float | None = None,
) -> Power:
    """Tell what so many validation images can tell.

    Args:
      num_validation: of all groups together.
      num_groups: they are in.
      accuracy: of a typical model, 0 to 1.
      disagreement: the share of images on which exactly one model of a pair is right;
        without it that of models of ImageNet, scaled to the accuracy.
    Raises: ValueError: numbers that cannot be.
    """
    if num_validation < 1 or num_groups < 1 or not 0 <= accuracy <= 1:
        raise ValueError("at least one image and group, and an accuracy of 0 to 1")
    share = typical_disagreement(accuracy) if disagreement is None else disagreement
    in_group = num_validation / num_groups
    paired = smallest_paired_gap(num_validation, disagreement=share)
    return Power(
        standard_error=math.sqrt(accuracy * (1 - accuracy) / num_validation),
        paired_gap=paired,
        unpaired_gap=smallest_gap(num_validation, accuracy=accuracy),
        images_per_group=in_group,
        group_gap=paired * math.sqrt(num_groups),
    )


def count_told_apart(
    accuracies: Sequence[float], num_images: int, *, disagreement: float | None = None
) -> tuple[int, int]:
    """Count the pairs that so many images tell apart.

    Args:
      accuracies: of the models, 0 to 1, taken for the true ones.
      num_images: in validation.
      disagreement: as `measure_power`, then pairs are compared image by image; without
        it by their accuracies alone.
    Returns: How many pairs are told apart, and how many there are.
    """
    array = np.array(accuracies, dtype=np.float64)
    if disagreement is None:
        decisions = decide_pairs_unpaired(array, num_images)
        told = int(np.count_nonzero(decisions)) // 2
    else:
        gap = smallest_paired_gap(num_images, disagreement=disagreement)
        upper = np.triu_indices(len(array), 1)
        told = int((np.abs(array[:, np.newaxis] - array)[upper] > gap).sum())
    return told, len(array) * (len(array) - 1) // 2


def images_needed(
    correct: BoolArray, full: SignArray, *, share: float = 0.9
) -> int | None:
    """Tell how many validation images would decide most pairs as the full set does.

    A pair whose difference is δ, and which disagrees on the share d of the images, is
    decided by 1.96² d/δ² images, as McNemar's test has it.

    Args:
      correct: shape (models, images), on the subset.
      full: decisions on the full set, shape (models, models).
      share: of the pairs that are decided on the full set.
    Returns: The number; None when no pair is decided on the full set, or when so many
      have the other order, or none, that no number of images would do.
    """
    ones = correct.astype(np.float64)
    num_images = correct.shape[1]
    both = ones @ ones.T
    only_first = np.diagonal(both)[:, np.newaxis] - both
    gain = (only_first - only_first.T) * full / num_images  # above 0: the same order
    upset = (only_first + only_first.T) / num_images
    pairs = np.triu(full != 0, 1)
    if not pairs.any():
        return None
    delta, either = gain[pairs], upset[pairs]
    needed = np.full(len(delta), np.inf)
    np.divide(Z_95**2 * either, delta**2, out=needed, where=delta > 0)
    at_least = np.sort(needed)[math.ceil(share * len(needed)) - 1]
    return int(at_least) + 1 if np.isfinite(at_least) else None


def describe_power(num_validation: int, num_groups: int) -> list[tuple[str, str]]:
    """Tell in words what a planned subset's validation images can tell."""
    power = measure_power(num_validation, num_groups)
    at = f"at an accuracy of {TYPICAL_ACCURACY:.0%}"
    return [
        (f"standard error {at}", _points(power.standard_error)),
        ("smallest gap told, models on the same images", _points(power.paired_gap)),
        ("smallest gap told, by accuracies alone", _points(power.unpaired_gap)),
        ("validation images a group", f"{power.images_per_group:,.0f}"),
        ("smallest gap told within a group", _points(power.group_gap)),
    ]


def _points(share: float) -> str:
    """Write a difference of accuracies in percentage points."""
    points = 100 * share
    return f"{points:.2f} points" if points < 1 else f"{points:.1f} points"
