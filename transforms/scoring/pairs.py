"""What models reach on a set → which pairs it tells apart, with the noise of seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transforms.scoring.coarse import BoolArray
from transforms.scoring.deciding import Z_95, SignArray
from transforms.scoring.ranking import FloatArray


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


def decide_pairs(
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
