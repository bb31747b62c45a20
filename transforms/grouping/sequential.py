"""Weights between classes → groups taken one by one, each the heaviest set left.

A step is the heaviest-k-subgraph problem, which is hard: few sets are all tried, of
many the best greedy starts are improved by swaps, with a short memory of what was
swapped. The later groups get what the earlier ones left: use it to follow the rule, and
`balanced_partition` to group well.
"""

import itertools
import math

import numpy as np

from transforms.arrays import FloatArray, IntArray
from transforms.grouping.balanced import UNIT, group_sizes

_MAX_TRIED = 5_000  # sets
_NUM_STARTS = 4
_NUM_SWAPS = 40  # a start, after the last that was better
_MEMORY = 5  # swaps for which what left stays out, and what came stays in


def partition(weights: FloatArray, num_groups: int) -> IntArray:
    """Take the heaviest set of the first size, then of what is left, N times.

    Args:
      weights: shape (classes, classes), as `balanced_partition.normalise` makes them.
      num_groups: N, at most the number of classes.
    Returns: The group of each class, in the order of taking; shape (classes,).
    """
    groups = np.zeros(len(weights), np.int64)
    left = np.arange(len(weights))
    for group, size in enumerate(group_sizes(len(weights), num_groups).tolist()):
        chosen = find_heaviest(weights[np.ix_(left, left)], size)
        groups[left[chosen]] = group
        left = np.delete(left, chosen)
    return groups


def find_heaviest(weights: FloatArray, size: int) -> list[int]:
    """Find a set of classes with the largest sum of weights between them.

    Returns: Its classes, ascending; of equal sets the first in lexicographic order (of
      all where all are tried, else of those that were met).
    """
    count = len(weights)
    if size in {1, count}:
        return list(range(size))
    if math.comb(count, size) <= _MAX_TRIED:
        return _try_all(weights, size)
    starts = _start_greedily(weights, size)
    found = [_improve(weights, start) for start in starts]
    return min(found)[1]


def _try_all(weights: FloatArray, size: int) -> list[int]:
    sets = np.array(list(itertools.combinations(range(len(weights)), size)))
    inside = weights[sets[:, :, None], sets[:, None, :]].sum(axis=(1, 2))
    best: list[int] = sets[int(inside.argmax())].tolist()
    return best


def _start_greedily(weights: FloatArray, size: int) -> list[list[int]]:
    """Grow a set from every class at once; return the heaviest few."""
    count = len(weights)
    every = np.arange(count)
    is_in = np.eye(count, dtype=bool)
    affinity = weights.copy()
    inside = np.zeros(count)
    for _ in range(size - 1):
        added = np.where(is_in, -1, affinity).argmax(axis=1)
        inside += affinity[every, added]
        is_in[every, added] = True
        affinity += weights[added]
    distinct: dict[tuple[int, ...], None] = {}
    for start in np.argsort(-inside, kind="stable").tolist():
        distinct.setdefault(tuple(np.flatnonzero(is_in[start]).tolist()))
        if len(distinct) == _NUM_STARTS:
            break
    return [list(start) for start in distinct]


def _improve(weights: FloatArray, start: list[int]) -> tuple[float, list[int]]:
    """Swap one class in for one out, the best first, also where that loses for a while.

    Returns: Minus the weight of the best set that was met, and that set.
    """
    chosen = np.zeros(len(weights), bool)
    chosen[start] = True
    affinity = weights[chosen].sum(axis=0)
    inside = float(affinity[chosen].sum()) / 2
    best = (-inside, start)
    free_from = np.zeros(len(weights), np.int64)
    turn = since_best = 0
    while since_best < _NUM_SWAPS:
        turn, since_best = turn + 1, since_best + 1
        is_free = free_from < turn
        ins, outs = np.flatnonzero(~chosen & is_free), np.flatnonzero(chosen & is_free)
        if not len(ins) or not len(outs):
            continue
        gains = affinity[ins] - affinity[outs][:, None] - weights[np.ix_(outs, ins)]
        place = int(gains.argmax())
        leaving, coming = outs[place // len(ins)], ins[place % len(ins)]
        inside += float(gains.flat[place])
        affinity += weights[coming] - weights[leaving]
        chosen[leaving], chosen[coming] = False, True
        free_from[[leaving, coming]] = turn + _MEMORY
        met = (-inside, np.flatnonzero(chosen).tolist())
        if met[0] < best[0] - UNIT / 2:
            since_best = 0
        best = min(best, met)
    return best
