"""Accuracies of models → which pairs a set of images tells apart, and which it keeps.

A pair is decided when its difference is larger than chance explains: |z| > 1.96. The
decisions of all pairs are a square array: entry (a, b) is 1 where a is better, −1 where
b is, and 0 where the pair is not decided.
"""

import numpy as np
import numpy.typing as npt

from transforms.scoring.coarse import BoolArray
from transforms.scoring.ranking import FloatArray

SignArray = npt.NDArray[np.int8]

Z_95 = 1.96  # two-sided, 95 %


def decide_pairs(correct: BoolArray) -> SignArray:
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
    return int(decide_pairs(np.stack([correct_a, correct_b]))[0, 1])


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
