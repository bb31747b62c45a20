"""Predictions, image by image → confusion matrices, whole and in cross-fit halves."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms import seeds
from transforms.confusion.confusion_matrix import Confusion
from transforms.labels.classes import load_classes
from transforms.scoring.predictions import Predictions

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_HARD = np.array([1])
_SOFT = np.array([16, 8, 4, 2, 1])  # of 31: each rank counts half as much as the last


def halve(predictions: Predictions, seed: int) -> BoolArray:
    """Tell which images are in half A: of each class the first ⌈n/2⌉ by hash.

    It is the same half that `--folds 2` makes of them.
    """
    places = seeds.orders(seed, "fold", predictions.keys)
    order = np.lexsort((np.array(predictions.keys), places, predictions.truth))
    counts = np.bincount(predictions.truth, minlength=len(load_classes()))
    first = np.cumsum(counts) - counts
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first[predictions.truth[order]]
    in_a: BoolArray = rank < -(-counts // 2)[predictions.truth]
    return in_a


def tally(
    of_models: Sequence[Predictions],
    *,
    is_soft: bool,
    chosen: Sequence[BoolArray] | None = None,
) -> Confusion:
    """Count what images of each class are taken for, summed over models.

    Args:
      of_models: predictions over the 1000 classes.
      is_soft: spread each image over its five ranks by 1, ½, ¼, ⅛, 1/16, normalised,
        rather than count the first alone.
      chosen: the images of each model to count; all if not given.
    """
    wnids = tuple(info.wnid for info in load_classes())
    size = len(wnids)
    weights = _SOFT if is_soft else _HARD
    counts = np.zeros(size * size, np.int64)
    num_images = np.zeros(size, np.int64)
    for number, found in enumerate(of_models):
        which = slice(None) if chosen is None else chosen[number]
        true, top = found.truth[which], found.top5[which]
        num_images += np.bincount(true, minlength=size)
        for rank, weight in enumerate(weights.tolist()):
            cells = true * size + top[:, rank]
            counts += weight * np.bincount(cells, minlength=size * size)
    matrix = counts.reshape(size, size) / weights.sum()
    return Confusion(matrix, wnids, num_images, tuple(p.model for p in of_models))
