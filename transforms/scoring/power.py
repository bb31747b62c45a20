"""Numbers of validation images → which differences between models they can tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.scoring import deciding
from transforms.scoring.coarse import BoolArray
from transforms.scoring.deciding import Z_95, SignArray

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
    paired = deciding.smallest_paired_gap(num_validation, disagreement=share)
    return Power(
        standard_error=math.sqrt(accuracy * (1 - accuracy) / num_validation),
        paired_gap=paired,
        unpaired_gap=deciding.smallest_gap(num_validation, accuracy=accuracy),
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
        decisions = deciding.decide_pairs_unpaired(array, num_images)
        told = int(np.count_nonzero(decisions)) // 2
    else:
        gap = deciding.smallest_paired_gap(num_images, disagreement=disagreement)
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
