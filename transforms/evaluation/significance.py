"""Test which differences between models are significant, and plan sample sizes.

A difference of two accuracies is significant if it exceeds 1.96 standard errors
(two-sided, 95 %), or more if the standard error is estimated from few seeds. The
results for all pairs form a square array of signs: entry (a, b) is 1 if model a is
significantly better, −1 if b is, and 0 if neither is.
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
_Z_POWER = 0.8416  # of the normal distribution at 80 %
ALPHA = 0.05  # significance level
TAIL = ALPHA / 2  # of two-sided tests and 95 % intervals
TYPICAL_ACCURACY = 0.76
# Share of the images on which exactly one of two models is correct: the mean over the
# pairs of 64 ImageNet models. Independent errors would give 2p(1−p) = 0.365.
TYPICAL_DISAGREEMENT = 0.32 * 2 * TYPICAL_ACCURACY * (1 - TYPICAL_ACCURACY)


class SeedNoise(NamedTuple):
    """Variance of accuracies between random seeds, pooled over models.

    Attributes:
      variance: variance of a model's accuracy with one seed.
      degrees: degrees of freedom, Σ (seeds − 1) over models.
      num_seeds: shape (models,), number of seeds of each model.
    """

    variance: float
    degrees: int
    num_seeds: FloatArray


class PairTests(NamedTuple):
    """Significance tests of all pairs of models on one set.

    Attributes:
      accuracies: shape (models,), 0 to 1.
      errors: shape (models,), the standard error of each accuracy.
      spread: shape (models, models), the standard error of each difference.
      decisions: shape (models, models), 1 where the first model is significantly
        better, −1 where the second is, 0 where the difference is not significant.
      p_values: shape (models, models), the two-sided p-value of each difference.
      is_paired: whether models were compared image by image.
    """

    accuracies: FloatArray
    errors: FloatArray
    spread: FloatArray
    decisions: SignArray
    p_values: FloatArray
    is_paired: bool

    @property
    def num_pairs(self) -> int:
        """The number of pairs of models."""
        return len(self.accuracies) * (len(self.accuracies) - 1) // 2

    @property
    def num_significant(self) -> int:
        """The number of pairs with a significant difference."""
        return int(np.count_nonzero(self.decisions)) // 2

    def correct(self) -> "PairTests":
        """Return the tests with Holm's correction of `decisions` for the many pairs.

        Without it, each pair has an error rate of 5 %; with it, all pairs together.
        """
        upper = np.triu_indices(len(self.accuracies), 1)
        is_significant = np.zeros(self.decisions.shape, dtype=bool)
        is_significant[upper] = holm(self.p_values[upper]) < ALPHA
        is_significant |= is_significant.T
        return self._replace(decisions=self.decisions * is_significant)


def holm(p_values: FloatArray) -> FloatArray:
    """Adjust p-values for the number of tests, shape (tests,).

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def measure_seed_noise(finals: Sequence[Sequence[float]]) -> SeedNoise | None:
    """Pool the variance between seeds over models.

    Pooling is needed because a model with two or three seeds gives a poor estimate.

    Args:
      finals: the final accuracies of each model, one per seed.

    Returns:
      The pooled noise, or None if no model has two seeds.

    Source: pooled variance, e.g. Snedecor and Cochran, Statistical Methods (1989).
    """
    num_seeds = np.array([len(values) for values in finals], dtype=np.float64)
    degrees = int(num_seeds.sum()) - len(finals)
    if not degrees:
        return None
    squares = sum(
        float(np.sum((np.array(values) - np.mean(values)) ** 2)) for values in finals
    )
    return SeedNoise(squares / degrees, degrees, num_seeds)


def compare_all_pairs(
    accuracies: FloatArray,
    num_images: int,
    *,
    correctness: FloatArray | BoolArray | None = None,
    noise: SeedNoise | None = None,
) -> PairTests:
    """Test the difference of every pair of models for significance.

    The variance of a difference is the sum of two terms. The sampling of images adds
    p(1−p)/n + q(1−q)/n; if per-image correctness is known, it adds instead
    Σ (difference on an image)² / n², as in McNemar's test without continuity
    correction. The choice of seeds adds s²/seeds for each of the two models. With one
    seed per model, a difference is significant above 1.96 standard errors; with
    several, above the quantile of Student's t with the degrees of freedom of the sum,
    since s² is an estimate.

    Without `correctness`, the errors of two models are assumed to be independent. In
    practice, models tend to fail on the same images, which makes the test conservative.

    Args:
      accuracies: shape (models,), 0 to 1, means over seeds.
      num_images: number of images on which each accuracy was measured.
      correctness: shape (models, images), the share of a model's seeds that classify
        the image correctly; None if unknown.
      noise: variance between seeds; None with one seed per model.

    Raises:
      ValueError: an accuracy is outside 0 to 1, or there is no image.

    Source: McNemar, Psychometrika 1947; the two-sample z test of proportions; Welch,
      Biometrika 1947, and Satterthwaite, Biometrics Bulletin 1946, for the degrees of
      freedom.
    """
    from scipy import stats

    if not ((accuracies >= 0) & (accuracies <= 1)).all() or num_images < 1:
        raise ValueError("accuracies must be 0 to 1, of at least one image")
    single = accuracies * (1 - accuracies) / num_images
    if correctness is None:
        image_variance = single[:, np.newaxis] + single
    else:
        image_variance = _sum_squared_differences(correctness) / num_images**2
    seed_variance = np.zeros(len(accuracies))
    if noise is not None:
        seed_variance = noise.variance / noise.num_seeds
    between_seeds = seed_variance[:, np.newaxis] + seed_variance
    variance = image_variance + between_seeds
    effective = np.full_like(variance, np.inf)
    if noise is not None:
        effective = _find_degrees(variance, between_seeds, noise.degrees)
    # Curves give the accuracies even where per-image correctness is known, so that no
    # pair is significant against the curves.
    difference = accuracies[:, np.newaxis] - accuracies
    spread = np.sqrt(variance)
    limit = np.maximum(Z_95, stats.t.ppf(1 - TAIL, effective))
    is_significant = np.abs(difference) > limit * spread
    size = np.abs(difference)
    # Without any spread, every difference is certain.
    z = np.divide(size, spread, out=np.where(size > 0, np.inf, 0), where=spread > 0)
    return PairTests(
        accuracies,
        np.sqrt(single + seed_variance),
        spread,
        (np.sign(difference) * is_significant).astype(np.int8),
        2 * stats.t.sf(z, effective),
        is_paired=correctness is not None,
    )


def _sum_squared_differences(correctness: FloatArray | BoolArray) -> FloatArray:
    """Return Σ (difference on an image)² of each pair, shape (models, models).

    `correctness` has shape (models, images).
    """
    wide = correctness.astype(np.float64)
    products = wide @ wide.T
    squares = np.diagonal(products)
    sums: FloatArray = squares[:, np.newaxis] + squares - 2 * products
    return np.maximum(sums, 0)  # rounding may leave −ε


def _find_degrees(
    variance: FloatArray, between_seeds: FloatArray, degrees: int
) -> FloatArray:
    """Return the effective degrees of freedom of each pair, shape (models, models).

    Args:
      variance: shape (models, models), variance of each difference.
      between_seeds: shape (models, models), the part of it that is due to seeds.
      degrees: degrees of freedom of the variance between seeds.
    """
    share = np.divide(
        between_seeds, variance, out=np.zeros_like(variance), where=variance > 0
    )
    with np.errstate(divide="ignore"):
        effective: FloatArray = degrees / share**2
    return effective


def sign_agreement(full: SignArray, subset: FloatArray) -> float | None:
    """Return the share of significant pairs that have the same order on the subset.

    Args:
      full: shape (models, models), significance on the full set.
      subset: shape (models,), accuracies on the subset; a tie is a disagreement.

    Returns:
      The share of the pairs significant on the full set, 0 to 1; None if no pair is.

    Raises:
      ValueError: the numbers of models differ.

    Source: this project. Other pairs are ignored, since their order is unknown.
    """
    return _share_kept(full, np.sign(subset[:, np.newaxis] - subset).astype(np.int8))


def resolving_power(full: SignArray, subset: SignArray) -> float | None:
    """Return the share of significant pairs that the subset decides in the same way.

    Args:
      full: shape (models, models), significance on the full set.
      subset: shape (models, models), significance on the subset.

    Returns:
      The share of the pairs significant on the full set that are significant with the
      same sign on the subset, 0 to 1; None if no pair is significant.

    Raises:
      ValueError: the numbers of models differ.

    Source: this project. Other pairs are ignored, since their order is unknown.
    """
    return _share_kept(full, subset)


def _share_kept(full: SignArray, subset: SignArray) -> float | None:
    if full.shape != subset.shape:
        raise ValueError(f"shapes {full.shape}, {subset.shape} are not the same")
    num_significant = int(np.count_nonzero(full))
    num_kept = int(np.count_nonzero((full != 0) & (full == subset)))
    return num_kept / num_significant if num_significant else None


def smallest_gap(num_images: int, *, accuracy: float) -> float:
    """Compute the smallest detectable difference if only accuracies are known.

    Args:
      num_images: number of images on which each of the two models was measured.
      accuracy: approximate accuracy of both models, 0 to 1.

    Returns:
      The difference of accuracies that is significant at 5 % with a power of 80 %:
      (1.96 + 0.84) √(2p(1−p)/n). A true difference of 1.96 standard errors would be
      significant in half of all experiments only.

    Source: the z test of `compare_all_pairs`; Cohen, Statistical Power Analysis (1988).
    """
    return float(
        (Z_95 + _Z_POWER) * np.sqrt(2 * accuracy * (1 - accuracy) / num_images)
    )


def smallest_paired_gap(num_images: int, *, disagreement: float) -> float:
    """Compute the smallest detectable difference of models on the same images.

    Args:
      num_images: number of images.
      disagreement: share of the images on which exactly one of two models is correct,
        0 to 1.

    Returns:
      The difference of accuracies that is significant at 5 % with a power of 80 %:
      (1.96 + 0.84) √(d/n), where d is the disagreement and n the number of images.

    Source: McNemar's test, solved for (b − c)/n, where b and c are the numbers of
      images on which only the first or only the second model is correct, and
      d = (b + c)/n.
    """
    return float((Z_95 + _Z_POWER) * np.sqrt(disagreement / num_images))


@dataclass(frozen=True, kw_only=True)
class Power:
    """Statistical power of a validation set; accuracies and gaps are shares, 0 to 1.

    Attributes:
      standard_error: standard error of one accuracy.
      paired_gap: smallest difference of two models on the same images that is
        significant with a power of 80 %.
      unpaired_gap: the same if only the accuracies are known.
      images_per_group: mean number of validation images per group.
      group_gap: as `paired_gap`, for the accuracies within a single group.
    """

    standard_error: float
    paired_gap: float
    unpaired_gap: float
    images_per_group: float
    group_gap: float


def measure_power(num_validation: int, num_groups: int) -> Power:
    """Compute the smallest differences that a number of validation images can resolve.

    The models are typical of ImageNet.

    Args:
      num_validation: total number of validation images of all groups.
      num_groups: number of groups that share these images equally.

    Raises:
      ValueError: a number is less than one.
    """
    if num_validation < 1 or num_groups < 1:
        raise ValueError("at least one image and group")
    variance = TYPICAL_ACCURACY * (1 - TYPICAL_ACCURACY)
    paired = smallest_paired_gap(num_validation, disagreement=TYPICAL_DISAGREEMENT)
    return Power(
        standard_error=math.sqrt(variance / num_validation),
        paired_gap=paired,
        unpaired_gap=smallest_gap(num_validation, accuracy=TYPICAL_ACCURACY),
        images_per_group=num_validation / num_groups,
        group_gap=paired * math.sqrt(num_groups),
    )


def images_needed(
    correct: BoolArray, full: SignArray, *, share: float = 0.9
) -> int | None:
    """Estimate the validation images needed for a share of the pairs to be significant.

    Two models whose accuracies differ by δ, and exactly one of which is correct on the
    share d of the images, need (1.96 + 0.84)² d/δ² images for a power of 80 %.

    Args:
      correct: shape (models, images), per-image correctness on the subset.
      full: shape (models, models), significance on the full set.
      share: share of the pairs significant on the full set that must be significant on
        the subset, 0 to 1.

    Returns:
      The number of images; None if no pair is significant on the full set, or if too
      many pairs have the opposite order or tie for any number to suffice.

    Source: McNemar's test, solved for n.
    """
    ones = correct.astype(np.float64)
    num_images = correct.shape[1]
    both = ones @ ones.T
    only_first = np.diagonal(both)[:, np.newaxis] - both
    gain = (only_first - only_first.T) * full / num_images  # > 0: the same order
    disagreement = (only_first + only_first.T) / num_images
    pairs = np.triu(full != 0, 1)
    if not pairs.any():
        return None
    delta, either = gain[pairs], disagreement[pairs]
    needed = np.full(len(delta), np.inf)
    np.divide((Z_95 + _Z_POWER) ** 2 * either, delta**2, out=needed, where=delta > 0)
    at_least = np.sort(needed)[math.ceil(share * len(needed)) - 1]
    return int(at_least) + 1 if np.isfinite(at_least) else None


def describe_power(num_validation: int, num_groups: int) -> list[tuple[str, str]]:
    """Describe the power of a planned validation set as (label, value) pairs."""
    power = measure_power(num_validation, num_groups)
    at = f"at an accuracy of {TYPICAL_ACCURACY:.0%}"
    return [
        (f"standard error {at}", _points(power.standard_error)),
        ("detectable difference (80 % power), same images", _points(power.paired_gap)),
        (
            "detectable difference (80 % power), independent",
            _points(power.unpaired_gap),
        ),
        ("validation images per group", f"{power.images_per_group:,.0f}"),
        ("detectable difference (80 % power), one group", _points(power.group_gap)),
    ]


def _points(share: float) -> str:
    """Format a difference of accuracies (as a share) in percentage points."""
    points = 100 * share
    return f"{points:.2f} points" if points < 1 else f"{points:.1f} points"
