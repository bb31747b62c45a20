"""Estimate noise ceilings: the agreement of a subset whose only error is noise.

`RandomHalves` measures the ceiling from per-image correctness: the ranking on images of
one half is compared with the ranking on the other half, so no image is on both
sides. `predict_ceiling` simulates it from standard errors, for sets that have other
images or training.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from transforms import seeds
from transforms.arrays import BoolArray, IntArray
from transforms.evaluation import ranking
from transforms.evaluation.significance import TAIL, PairTests

NUM_HALVES = 40
_NUM_SIMULATIONS = 1000


class HalfAgreement(NamedTuple):
    """Agreement of a subset with the full set on other images, by random halves.

    Attributes:
      taus: τ-b between the subset's ranking on one half of the images and the full
        set's ranking on the other half; without halves for which it is undefined.
      ceilings: the same for as many random images of the full set.
    """

    taus: tuple[float, ...]
    ceilings: tuple[float, ...]

    @property
    def tau(self) -> float | None:
        """The mean of `taus`; None if there are none."""
        return ranking.mean(self.taus)

    @property
    def ceiling(self) -> float | None:
        """The mean of `ceilings`; None if there are none."""
        return ranking.mean(self.ceilings)

    @property
    def deviation(self) -> float:
        """The standard deviation of `ceilings`; 0 with fewer than two."""
        return float(np.std(self.ceilings, ddof=1)) if len(self.ceilings) > 1 else 0.0


def is_within_noise(tau: float | None, ceiling: float | None, deviation: float) -> bool:
    """Return whether τ-b reaches its ceiling up to one standard deviation.

    False if τ-b or its ceiling is undefined.
    """
    return tau is not None and ceiling is not None and tau >= ceiling - deviation


class Ceiling(NamedTuple):
    """The agreement of a subset that ranks models as the full set, except for noise.

    Attributes:
      tau: expected τ-b with the full set; None if it is undefined.
      kept: of the pairs that are significant on the full set, the expected share with
        the same order on the subset; None if no pair is significant.
      least_kept: the 2.5 % quantile of this share; None if no pair is significant.
    """

    tau: float | None
    kept: float | None
    least_kept: float | None


class RandomHalves:
    """Random orders of the images, shared by all subsets and their noise ceilings.

    Each order also splits the images into two halves: the first ⌊n/2⌋ and the rest.

    Attributes:
      places: shape (orders, images), the position of each image in each order.
    """

    def __init__(self, correct: BoolArray, *, seed: int) -> None:
        """Draw the orders.

        Args:
          correct: shape (images, models), per-image correctness on the full set.
          seed: seed of the orders.
        """
        self._correct = correct
        self._whole = correct.sum(axis=0, dtype=np.int64)
        total = len(correct)
        self._half = total // 2
        self.places = np.empty((NUM_HALVES, total), np.int32)
        for number in range(NUM_HALVES):
            keys = (f"{number}|{image}" for image in range(total))
            order = np.argsort(seeds.orders(seed, "draw", keys), kind="stable")
            self.places[number, order] = np.arange(total, dtype=np.int32)
        first = count_correct(correct, self.places < self._half)
        self._second_half = self._whole - first  # shape (orders, models)
        self._overlapping = {total: ranking.kendall_tau(self._whole, self._whole)}
        self._known: dict[tuple[int, int], float | None] = {}

    def compare(
        self,
        counted: IntArray,
        correct: BoolArray,
        numbers: Sequence[int] = range(NUM_HALVES),
    ) -> HalfAgreement:
        """Compare a subset with the full set on disjoint halves of the images.

        Args:
          counted: shape (counted images,), positions of the subset's images.
          correct: shape (counted images, models), correctness on the subset.
          numbers: numbers of the orders to use.
        """
        inside = self.places[np.asarray(numbers)][:, counted] < self._half
        counts = count_correct(correct, inside)
        taus, ceilings = [], []
        for number, size, right in zip(
            numbers, inside.sum(axis=1).tolist(), counts, strict=True
        ):
            other = self._second_half[number]
            taus.append(ranking.kendall_tau(other, right))
            if (number, size) not in self._known:
                first = self.places[number] < size
                chance = self._correct[first].sum(axis=0, dtype=np.int64)
                self._known[number, size] = ranking.kendall_tau(other, chance)
            ceilings.append(self._known[number, size])
        return HalfAgreement(
            tuple(tau for tau in taus if tau is not None),
            tuple(tau for tau in ceilings if tau is not None),
        )

    def measure_overlapping(self, sizes: Iterable[int]) -> dict[int, float | None]:
        """Return the mean τ-b between the rankings on random images and on all images.

        The random images are part of all images. None if τ-b is undefined.

        Args:
          sizes: numbers of random images.

        Returns:
          The mean τ-b by number of images.
        """
        for size in set(sizes) - set(self._overlapping):
            self._overlapping[size] = ranking.mean(
                ranking.kendall_tau(self._whole, right)
                for right in count_correct(self._correct, self.places < size)
            )
        return {size: self._overlapping[size] for size in sorted(set(sizes))}


def count_correct(correct: BoolArray, chosen: BoolArray) -> IntArray:
    """Count correct predictions on chosen images, shape (choices, models).

    float32 represents all integers up to 2²⁴ exactly, so the sums are exact.

    Args:
      correct: shape (images, models), whether each prediction is correct.
      chosen: shape (choices, images), whether each choice includes each image.
    """
    sums = chosen.astype(np.float32) @ correct.astype(np.float32)
    return sums.astype(np.int64)


def predict_ceiling(full: PairTests, subset: PairTests, *, seed: int) -> Ceiling:
    """Simulate subsets with the true ranking of the full set and the noise of a subset.

    Each simulation draws accuracies around those of the full set, with the sum of both
    sets' variances: that of the full set is the uncertainty of the true accuracies,
    that of the subset its noise.

    Args:
      full: tests on the full set.
      subset: tests of the same models on the subset.
      seed: seed of the simulation.

    Source: posterior predictive check (Rubin, Annals of Statistics 1984), with a flat
      prior.
    """
    from scipy import special

    num_models = len(full.accuracies)
    # The covariance of errors whose differences have these variances, up to a shift
    # that all models share and that no difference depends on.
    centre = np.eye(num_models) - 1 / num_models
    squares = full.spread**2 + subset.spread**2
    np.fill_diagonal(squares, 0)
    values, vectors = np.linalg.eigh(-centre @ squares @ centre / 2)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    keys = (f"ceiling|{n}" for n in range(_NUM_SIMULATIONS * num_models))
    uniform = (seeds.orders(seed, "draw", keys) + 0.5) / 2.0**63
    errors = special.ndtri(uniform).reshape(_NUM_SIMULATIONS, num_models) @ root
    measured = np.round(full.accuracies + errors, 12)
    taus = [ranking.kendall_tau(full.accuracies, draw) for draw in measured]
    better, worse = np.nonzero(full.decisions == 1)
    if not len(better):
        return Ceiling(ranking.mean(taus), None, None)
    kept = (measured[:, better] > measured[:, worse]).mean(axis=1)
    # A simulated share that is as low as the measured one is no evidence against it.
    return Ceiling(
        ranking.mean(taus),
        float(kept.mean()),
        float(np.quantile(kept, TAIL, method="lower")),
    )
