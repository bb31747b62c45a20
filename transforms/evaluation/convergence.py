"""Learning curves → the earliest epoch that ranks models as the last one does.

Epochs count passes over the training images, from 1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.arrays import FloatArray
from transforms.evaluation import ranking, significance
from transforms.evaluation.significance import SignArray


class Clearness(NamedTuple):
    """When a set is clear, and what that costs.

    Attributes:
      clear_epoch: the earliest; None when no two models differ by more than chance.
      images_looped: training images × that epoch.
      taus: τ-b of each epoch's order with the last one's, by epoch.
    """

    clear_epoch: int | None
    images_looped: int | None
    taus: tuple[float | None, ...]


def find_clear_epoch(curves: FloatArray, decisions: SignArray) -> int | None:
    """Find the earliest epoch from which an order stays.

    Args:
      curves: shape (models, epochs).
      decisions: which model of a pair is better, shape (models, models); only pairs
        that are decided count, and a tie is no agreement.
    Returns: The first epoch of those that agree up to the last; None when the last does
      not agree itself, or no pair is decided.
    """
    if not np.count_nonzero(decisions):
        return None
    agrees = [_agrees(curves[:, epoch], decisions) for epoch in range(curves.shape[1])]
    if not agrees[-1]:
        return None
    disagreeing = [epoch for epoch, is_same in enumerate(agrees) if not is_same]
    return (disagreeing[-1] + 1 if disagreeing else 0) + 1


def _agrees(accuracies: FloatArray, decisions: SignArray) -> bool:
    signs = np.sign(accuracies[:, np.newaxis] - accuracies)
    return bool((signs[decisions != 0] == decisions[decisions != 0]).all())


def measure_clearness(
    curves: FloatArray, decisions: SignArray, *, train_images: int
) -> Clearness:
    """Measure when a set's order becomes that of its last epoch, and stays.

    Args:
      curves: shape (models, epochs).
      decisions: of the same set's last epoch.
      train_images: in one epoch.
    """
    epoch = find_clear_epoch(curves, decisions)
    last = curves[:, -1]
    taus = tuple(ranking.kendall_tau(curves[:, e], last) for e in range(len(curves.T)))
    return Clearness(epoch, None if epoch is None else train_images * epoch, taus)


def rank_by_epoch(curves: FloatArray) -> npt.NDArray[np.int64]:
    """Rank the models at every epoch, shape (models, epochs), 1 the best.

    Of equal ones the first model comes first.
    """
    order = np.argsort(-curves, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable") + 1


def are_always_far_apart(
    curves: FloatArray, decisions: SignArray, num_images: int
) -> bool:
    """Tell whether every pair is decided as in the end after the first epoch already.

    Such models rank any set: they do not test it.
    """
    first = significance.decide_pairs_unpaired(curves[:, 0], num_images)
    off_diagonal = ~np.eye(len(first), dtype=bool)
    return bool(((first == decisions) & (decisions != 0))[off_diagonal].all())
