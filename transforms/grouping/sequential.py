"""Partition classes into N groups by repeatedly taking the heaviest remaining set.

Each step is a heaviest-k-subgraph problem, which is NP-hard. Up to 5000 candidate sets
are enumerated; beyond that, tabu search improves the best greedy sets. Later groups
only get the remaining classes; `balanced.partition` finds better groups overall.

Source: tabu search after Glover, 1989.
"""

import itertools
import math

import numpy as np

from transforms.arrays import FloatArray, IntArray
from transforms.grouping.balanced import UNIT, group_sizes

_MAX_ENUMERATED = 5_000  # candidate sets
_NUM_STARTS = 4
_NUM_SWAPS = 40  # without improvement, per start
_TABU_TENURE = 5  # swaps during which a moved class may not move again


def partition(weights: FloatArray, num_groups: int) -> IntArray:
    """Partition classes into N groups.

    Each group is the result of `find_heaviest` on the classes that remain.

    Args:
      weights: shape (classes, classes), from `balanced.normalise`.
      num_groups: N, at most the number of classes.

    Returns:
      The group of each class, shape (classes,), numbered in the order of selection;
      sizes follow `balanced.group_sizes`.
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

    The result is exact if there are at most 5000 sets, else heuristic.

    Args:
      weights: shape (classes, classes), from `balanced.normalise`.
      size: number of classes in the set.

    Returns:
      The classes of the set, ascending. Of equally heavy sets that were evaluated, the
      first in lexicographic order.
    """
    count = len(weights)
    if size in {1, count}:
        return list(range(size))
    if math.comb(count, size) <= _MAX_ENUMERATED:
        return _enumerate_sets(weights, size)
    starts = _grow_greedily(weights, size)
    improved = [_search_tabu(weights, start) for start in starts]
    return min(improved)[1]


def _enumerate_sets(weights: FloatArray, size: int) -> list[int]:
    sets = np.array(list(itertools.combinations(range(len(weights)), size)))
    inside = weights[sets[:, :, None], sets[:, None, :]].sum(axis=(1, 2))
    best: list[int] = sets[int(inside.argmax())].tolist()
    return best


def _grow_greedily(weights: FloatArray, size: int) -> list[list[int]]:
    """Grow a set greedily from each class; return the four heaviest distinct sets.

    `weights` has shape (classes, classes).
    """
    count = len(weights)
    all_rows = np.arange(count)
    is_member = np.eye(count, dtype=bool)
    affinity = weights.copy()
    inside = np.zeros(count)
    for _ in range(size - 1):
        added = np.where(is_member, -1, affinity).argmax(axis=1)
        inside += affinity[all_rows, added]
        is_member[all_rows, added] = True
        affinity += weights[added]
    distinct: dict[tuple[int, ...], None] = {}
    for start in np.argsort(-inside, kind="stable").tolist():
        distinct.setdefault(tuple(np.flatnonzero(is_member[start]).tolist()))
        if len(distinct) == _NUM_STARTS:
            break
    return [list(start) for start in distinct]


def _search_tabu(weights: FloatArray, start: list[int]) -> tuple[float, list[int]]:
    """Improve a set by tabu search.

    Each step makes the best allowed swap, even if it reduces the weight; the search
    ends after 40 steps without improvement.

    Args:
      weights: shape (classes, classes).
      start: the classes of the initial set.

    Returns:
      The negated weight of the best set that was evaluated, and the set.
    """
    chosen = np.zeros(len(weights), bool)
    chosen[start] = True
    affinity = weights[chosen].sum(axis=0)
    inside = float(affinity[chosen].sum()) / 2
    best = (-inside, start)
    tabu_until = np.zeros(len(weights), np.int64)
    step = since_best = 0
    while since_best < _NUM_SWAPS:
        step, since_best = step + 1, since_best + 1
        is_free = tabu_until < step
        ins, outs = np.flatnonzero(~chosen & is_free), np.flatnonzero(chosen & is_free)
        if not len(ins) or not len(outs):
            continue
        gains = affinity[ins] - affinity[outs][:, None] - weights[np.ix_(outs, ins)]
        position = int(gains.argmax())
        leaving, entering = outs[position // len(ins)], ins[position % len(ins)]
        inside += float(gains.flat[position])
        affinity += weights[entering] - weights[leaving]
        chosen[leaving], chosen[entering] = False, True
        tabu_until[[leaving, entering]] = step + _TABU_TENURE
        candidate = (-inside, np.flatnonzero(chosen).tolist())
        if candidate[0] < best[0] - UNIT / 2:
            since_best = 0
        best = min(best, candidate)
    return best
