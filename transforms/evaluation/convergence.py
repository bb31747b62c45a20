"""Find the epoch from which learning curves rank models as the full set does.

Epochs are numbered from 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import seeds
from transforms.arrays import BoolArray, FloatArray, IntArray
from transforms.evaluation import ranking
from transforms.evaluation.discordance import Interval
from transforms.evaluation.significance import TAIL, SignArray

_NUM_RESAMPLES = 1000
_ROUNDING = 1e-9


class Convergence(NamedTuple):
    """The convergence of the ranking on a set.

    Attributes:
      convergence_epoch: the first epoch from which enough of the significant pairs
        have the order of the full set's last epoch; None if the last epoch does not
        reach that, or if no pair is significant.
      images_seen: training images × `convergence_epoch`; None if that is None.
      taus: τ-b between the rankings at each epoch and at the last one, by epoch.
    """

    convergence_epoch: int | None
    images_seen: int | None
    taus: tuple[float | None, ...]


class TrainedSet(NamedTuple):
    """Learning curves on one set.

    Attributes:
      curves: shape (models, epochs), accuracies.
      train_images: number of training images in one epoch.
    """

    curves: FloatArray
    train_images: int


def find_convergence_epoch(
    curves: FloatArray, decisions: SignArray, *, share: float = 1
) -> int | None:
    """Find the first epoch from which enough pairs have the expected order.

    Args:
      curves: shape (models, epochs), accuracies.
      decisions: shape (models, models), the expected sign of each pair; pairs with 0
        are ignored, and a tie on the curves counts as a disagreement.
      share: share of the pairs that must have the expected sign, 0 to 1.

    Returns:
      The first epoch from which in every epoch at least `share` of the pairs have the
      expected sign; None if the last epoch does not reach this share, or if all signs
      are 0.
    """
    if not np.count_nonzero(decisions):
        return None
    kept = _find_kept(curves, decisions)
    totals = kept.sum(axis=(1, 2)) / np.count_nonzero(decisions == 1)
    epoch = int(_find_last_epochs(totals[np.newaxis] >= share - _ROUNDING)[0])
    return epoch if epoch <= len(totals) else None


def _find_kept(curves: FloatArray, decisions: SignArray) -> FloatArray:
    """Return 1 where a pair has the expected order, else 0.

    Args:
      curves: shape (models, epochs), accuracies.
      decisions: shape (models, models), the expected sign of each pair.

    Returns:
      Shape (epochs, models, models); 1 only where the first model is the better one, so
      that each pair is counted once.
    """
    by_epoch = curves.T
    is_better = by_epoch[:, :, np.newaxis] > by_epoch[:, np.newaxis]
    return (is_better & (decisions == 1)).astype(np.float64)


def _find_last_epochs(agrees: BoolArray) -> IntArray:
    """Return the first epoch from which all later ones agree, from 1, shape (rows,).

    The result is the number of epochs + 1 if the last one disagrees.

    Args:
      agrees: shape (rows, epochs), whether an epoch has the expected order.
    """
    stays = np.logical_and.accumulate(agrees[:, ::-1], axis=1)
    return agrees.shape[1] - stays.sum(axis=1) + 1


def measure_convergence(
    trained: TrainedSet, decisions: SignArray, *, share: float = 1
) -> Convergence:
    """Measure when the ranking on a set converges.

    Args:
      trained: the curves.
      decisions: shape (models, models), signs of the pairs that are significant on the
        full set after its last epoch.
      share: share of these pairs that must have this order, 0 to 1.
    """
    curves = trained.curves
    epoch = find_convergence_epoch(curves, decisions, share=share)
    last = curves[:, -1]
    taus = tuple(ranking.kendall_tau(curves[:, e], last) for e in range(len(curves.T)))
    seen = None if epoch is None else trained.train_images * epoch
    return Convergence(epoch, seen, taus)


def bound_gain(
    full: TrainedSet,
    subset: TrainedSet,
    *,
    decisions: SignArray,
    share: float,
    families: Sequence[str],
    seed: int,
) -> Interval | None:
    """Compute a 95 % confidence interval of the gain over the choice of models.

    The gain is the number of images seen until convergence on the full set, divided by
    that on the subset. Families of models are resampled. Rankings are known after whole
    epochs only, so each convergence may be up to one epoch earlier. Resamples without
    significant pairs, or for which the full set converges in the first epoch, are
    skipped.

    Args:
      full: curves on the full set.
      subset: curves of the same models on the subset.
      decisions: shape (models, models), signs of the pairs that are significant on the
        full set.
      share: share of these pairs that must be in order, the same on both sets.
      families: the family of each model.
      seed: seed of the resamples.

    Returns:
      The interval. Its lower end is 0 if the subset may not converge, and its upper end
      is infinite if the subset may converge in the first epoch. None if no pair is
      significant or all resamples are skipped.

    Source: Efron, percentile method (1979).
    """
    if not np.count_nonzero(decisions):
        return None
    _, members = np.unique(list(families), return_inverse=True)
    num_families = int(members.max()) + 1
    keys = (f"gain|{draw}" for draw in range(_NUM_RESAMPLES * num_families))
    drawn = seeds.orders(seed, "draw", keys).reshape(_NUM_RESAMPLES, -1) % num_families
    times = np.zeros((_NUM_RESAMPLES, num_families))
    np.add.at(times, (np.arange(_NUM_RESAMPLES)[:, np.newaxis], drawn), 1)
    counts = times[:, members]
    pairs = ((counts @ (decisions == 1)) * counts).sum(axis=1)
    counts, pairs = counts[pairs > 0], pairs[pairs > 0]
    low, high = [], []
    for trained in (full, subset):
        kept = np.stack(
            [
                ((counts @ in_order) * counts).sum(axis=1)
                for in_order in _find_kept(trained.curves, decisions)
            ],
            axis=1,
        )
        agrees = kept >= (share - _ROUNDING) * pairs[:, np.newaxis]
        epochs = _find_last_epochs(agrees).astype(np.float64)
        never = epochs > trained.curves.shape[1]
        high.append(np.where(never, np.inf, epochs) * trained.train_images)
        low.append(np.where(never, np.inf, epochs - 1) * trained.train_images)
    is_measured = low[0] > 0
    if not is_measured.any():
        return None
    with np.errstate(divide="ignore"):
        smallest = low[0][is_measured] / high[1][is_measured]
        largest = high[0][is_measured] / low[1][is_measured]
    return Interval(
        float(np.quantile(smallest, TAIL, method="lower")),
        float(np.quantile(largest, 1 - TAIL, method="higher")),
    )


def rank_by_epoch(curves: FloatArray) -> npt.NDArray[np.int64]:
    """Return the rank of each model at each epoch, from 1 (best).

    `curves` and the result have shape (models, epochs). Tied models are ranked in their
    order in `curves`.
    """
    order = np.argsort(-curves, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable") + 1
