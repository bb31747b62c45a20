"""Find the epoch from which learning curves rank models as the last epoch does.

Epochs are numbered from 1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.arrays import FloatArray
from transforms.evaluation import ranking, significance
from transforms.evaluation.significance import SignArray


class Convergence(NamedTuple):
    """The convergence of the ranking on a set.

    Attributes:
      convergence_epoch: the first epoch from which all significant pairs keep their
        final order; None if no pair is significant.
      images_seen: training images × `convergence_epoch`; None if that is None.
      taus: τ-b between the rankings at each epoch and at the last one, by epoch.
    """

    convergence_epoch: int | None
    images_seen: int | None
    taus: tuple[float | None, ...]


def find_convergence_epoch(curves: FloatArray, decisions: SignArray) -> int | None:
    """Find the first epoch from which the order of significant pairs stays the same.

    Args:
      curves: shape (models, epochs), accuracies.
      decisions: shape (models, models), the expected sign of each pair; pairs with 0
        are ignored, and a tie on the curves counts as a disagreement.

    Returns:
      The first epoch from which on every epoch agrees with `decisions`; None if the
      last epoch disagrees, or if no pair is significant.
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


def measure_convergence(
    curves: FloatArray, decisions: SignArray, *, train_images: int
) -> Convergence:
    """Measure when a set's ranking converges to its final ranking.

    Args:
      curves: shape (models, epochs), accuracies.
      decisions: shape (models, models), signs of the significant differences after the
        last epoch.
      train_images: number of training images in one epoch.
    """
    epoch = find_convergence_epoch(curves, decisions)
    last = curves[:, -1]
    taus = tuple(ranking.kendall_tau(curves[:, e], last) for e in range(len(curves.T)))
    return Convergence(epoch, None if epoch is None else train_images * epoch, taus)


def rank_by_epoch(curves: FloatArray) -> npt.NDArray[np.int64]:
    """Return the rank of each model at each epoch, from 1, in the shape of `curves`.

    Ties are ranked in the order of the first axis of `curves`, shape (models, epochs).
    """
    order = np.argsort(-curves, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable") + 1


def is_significant_from_start(
    curves: FloatArray, decisions: SignArray, num_images: int
) -> bool:
    """Return whether all pairs are significant from epoch 1, with their final order.

    Any subset ranks such models correctly, so they do not show whether it is useful.

    Args:
      curves: shape (models, epochs), accuracies.
      decisions: shape (models, models), signs of the significant differences after the
        last epoch.
      num_images: number of validation images.
    """
    first = significance.compare_all_pairs(curves[:, 0], num_images).decisions
    off_diagonal = ~np.eye(len(first), dtype=bool)
    return bool(((first == decisions) & (decisions != 0))[off_diagonal].all())
