"""Weights between classes → N groups of equal size (±1), as much inside as possible.

Agglomeration gives a start, packing makes its clusters N groups of exact sizes, swaps
of two classes improve them, annealing finds its way out of where swaps end. Weights are
whole multiples of 2⁻⁴⁰, so that sums are exact and every machine finds the same groups;
the number of steps is fixed, the clock decides nothing.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from transforms import seeds
from transforms.arrays import FloatArray, IntArray

UNIT = 2.0**-40
_NUM_SWEEPS, _MIN_SWEEPS = 100, 10
# Of each annealing; found by trial on real confusion, hard and soft, for N = 10…200.
_WARMTHS = (0.004, 0.006, 0.01)
_MAX_PROPOSALS = 100_000_000  # swaps weighed in one annealing
_NUM_NOISES = 1 << 17
_NEVER = -9.0  # below any gain


def normalise(weights: FloatArray) -> FloatArray:
    """Make weights symmetric, with sum 1, zero diagonal, and multiples of 2⁻⁴⁰.

    The sum is exact before it is rounded, so that the order of classes changes nothing.
    """
    both = weights + weights.T
    np.fill_diagonal(both, 0)
    total = math.fsum(both[both > 0].tolist())
    return np.rint(both / (total or 1.0) / UNIT) * UNIT


def group_sizes(num_classes: int, num_groups: int) -> IntArray:
    """Return the sizes of N groups: the first n mod N get ⌈n/N⌉, others ⌊n/N⌋."""
    size, num_larger = divmod(num_classes, num_groups)
    return np.array([size + (number < num_larger) for number in range(num_groups)])


def partition(
    weights: FloatArray,
    num_groups: int,
    *,
    seed: int,
    num_sweeps: int = _NUM_SWEEPS,
) -> IntArray:
    """Group classes so that the weight inside groups is large.

    Args:
      weights: shape (classes, classes), as `normalise` makes them.
      num_groups: N, at most the number of classes.
      seed: decides the noise of the annealing.
      num_sweeps: how often each of three annealings visits every class, at most; of
        their results the best is taken, the first of equals.
    Returns: The group of each class, shape (classes,); sizes as `group_sizes` has them.
    Source: agglomeration and pair swaps after Kernighan and Lin 1970; annealing of all
      swaps of a class at once is ours.
    """
    largest = -(-len(weights) // num_groups)
    clusters = agglomerate(weights, largest)
    best = _Swaps(weights, pack(weights, clusters, num_groups), num_groups)
    best.descend()
    start = best.groups.copy()
    if num_groups > 1 and largest > 1:
        for number, warmth in enumerate(_WARMTHS):
            found = _Swaps(weights, start, num_groups)
            key = seeds.order(seed, "group", f"anneal {number}")
            found.anneal(key, num_sweeps=num_sweeps, warmth=warmth)
            found.descend()
            best = max(best, found, key=_Swaps.captured)
    return best.groups


def agglomerate(weights: FloatArray, cap: int) -> list[list[int]]:
    """Merge clusters A and B with the largest w(A,B)/√(|A||B|), while the cap allows.

    Ties: the smallest class of the one, then of the other.
    """
    near = [_list_neighbours(row) for row in weights]
    clusters = [[number] for number in range(len(weights))]  # named by their smallest
    heap: list[tuple[float, int, int]] = []

    def offer(one: int, other: int) -> None:
        sizes = len(clusters[one]), len(clusters[other])
        if sum(sizes) <= cap:
            rank = -near[one][other] / math.sqrt(sizes[0] * sizes[1])
            heapq.heappush(heap, (rank, min(one, other), max(one, other)))

    if cap > 1:
        heap += [
            (-weight, one, other)
            for one, others in enumerate(near)
            for other, weight in others.items()
            if one < other
        ]
        heapq.heapify(heap)
    while heap:
        rank, one, other = heapq.heappop(heap)
        sizes = len(clusters[one]), len(clusters[other])
        weight = near[one].get(other)
        if weight is None or rank != -weight / math.sqrt(max(1, sizes[0] * sizes[1])):
            continue  # merged meanwhile
        if sum(sizes) > cap:
            continue
        clusters[one] += clusters[other]
        clusters[other] = []
        for third, weight in near[other].items():
            del near[third][other]
            if third != one:
                near[one][third] = near[third][one] = near[one].get(third, 0.0) + weight
        near[other] = {}
        for third in near[one]:
            offer(one, third)
    return [cluster for cluster in clusters if cluster]


def _list_neighbours(row: FloatArray) -> dict[int, float]:
    found = np.flatnonzero(row)
    return dict(zip(found.tolist(), row[found].tolist(), strict=True))


def pack(
    weights: FloatArray, clusters: Iterable[Sequence[int]], num_groups: int
) -> IntArray:
    """Put clusters into groups of the exact sizes, largest cluster first.

    Each goes where it gains most of the groups that have room, then where the room is
    smallest. One that fits nowhere is split: its most tightly bound classes go first.
    """
    room = group_sizes(len(weights), num_groups)
    groups = np.zeros(len(weights), np.int64)
    affinity = np.zeros((num_groups, len(weights)))
    queue = [(-len(c), min(c), list(c)) for c in clusters]
    heapq.heapify(queue)
    while queue:
        _, _, cluster = heapq.heappop(queue)
        fitting = np.flatnonzero(room >= len(cluster))
        if not len(fitting):
            inside = weights[np.ix_(cluster, cluster)].sum(axis=1)
            bound = [cluster[place] for place in np.lexsort((cluster, -inside))]
            most = int(room.max())
            for part in (bound[:most], bound[most:]):
                heapq.heappush(queue, (-len(part), min(part), part))
            continue
        gain = affinity[fitting][:, cluster].sum(axis=1)
        group = fitting[np.lexsort((room[fitting], -gain))[0]]
        groups[cluster] = group
        room[group] -= len(cluster)
        affinity[group] += weights[cluster].sum(axis=0)
    return groups


class _Swaps:
    """Groups that change by swapping two classes; what each swap gains is kept at hand.

    Where sizes differ, each smaller group is filled up with one empty place: a class
    without weights. Swapping with it moves a class.
    """

    def __init__(self, weights: FloatArray, groups: IntArray, num_groups: int) -> None:
        sizes = np.bincount(groups, minlength=num_groups)
        smaller = np.flatnonzero(sizes < sizes.max())
        self._num_classes = len(weights)
        self._weights = np.pad(weights, (0, len(smaller)))
        self._group_of = np.concatenate([groups, smaller])
        self._has_empty = np.zeros(num_groups, bool)
        self._has_empty[smaller] = True
        inside = np.zeros((len(self._group_of), num_groups))
        inside[np.arange(len(inside)), self._group_of] = 1
        self._affinity = inside.T @ self._weights  # shape (groups, classes)
        self._own = self._affinity[self._group_of, np.arange(len(inside))]

    @property
    def groups(self) -> IntArray:
        """The group of each class."""
        return self._group_of[: self._num_classes]

    def captured(self) -> float:
        """Return the weight inside groups."""
        return float(self._own.sum())

    def descend(self) -> None:
        """Swap as long as any swap gains."""
        while sum(self._visit(one) for one in range(self._num_classes)):
            pass

    def anneal(self, key: int, *, num_sweeps: int, warmth: float) -> None:
        """Visit all classes again and again, with ever less noise on the gains."""
        count = self._num_classes
        most = _MAX_PROPOSALS // (count * len(self._group_of))
        num_sweeps = min(num_sweeps, max(_MIN_SWEEPS, most))
        noise = make_noise(f"{key} noise", _NUM_NOISES + len(self._group_of) + 1)
        size = len(self._group_of) // len(self._has_empty)
        heat = warmth * math.sqrt(size) / count
        for sweep in range(num_sweeps):
            order = np.argsort(_integers(f"{key} order {sweep}", count), kind="stable")
            starts = _integers(f"{key} start {sweep}", count) % np.uint64(_NUM_NOISES)
            warm = heat * noise
            for one, start in zip(order.tolist(), starts.tolist(), strict=True):
                self._visit(one, warm[start:])
            heat *= 1 - 2 / num_sweeps  # to an eighth in all

    def _visit(self, one: int, noise: FloatArray | None = None) -> bool:
        """Swap a class with the best partner, if that gains; tell whether it did."""
        group_of, group = self._group_of, self._group_of[one]
        gains = self._affinity[:, one].take(group_of)
        gains += self._affinity[group]
        gains -= self._own
        gains -= 2 * self._weights[one]
        gains -= self._own[one]
        least = UNIT / 2
        if noise is not None:
            gains += noise[: len(gains)]
            least = float(noise[len(gains)])  # what staying is worth
        np.putmask(gains, group_of == group, _NEVER)
        if self._has_empty[group]:
            gains[self._num_classes :] = _NEVER
        other = int(gains.argmax())
        if gains[other] <= least:
            return False
        self._swap(one, other)
        return True

    def _swap(self, one: int, other: int) -> None:
        group_of = self._group_of
        group, target = group_of[one], group_of[other]
        change = self._weights[other] - self._weights[one]
        self._affinity[group] += change
        self._affinity[target] -= change
        group_of[one], group_of[other] = target, group
        if other >= self._num_classes:
            self._has_empty[group], self._has_empty[target] = True, False
        for changed in (group, target):
            inside = group_of == changed
            self._own[inside] = self._affinity[changed][inside]


def make_noise(key: str, count: int) -> FloatArray:
    """Make exponential noise of a hash: −log₂ of a uniform number, in straight pieces.

    Between powers of two the logarithm is a line: no machine's own logarithm is asked.
    """
    uniform = ((_integers(key, count) >> np.uint64(12)) + 0.5) * 2.0**-52
    mantissa, exponent = np.frexp(uniform)
    noise: FloatArray = 2 - exponent - 2 * mantissa
    return noise


def _integers(key: str, count: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(8 * count), "<u8")


_NUM_STEPS = 20
_PATIENCE = 2
_STEP = 0.4
_DIGITS = 4
_MARGIN = 1e-8  # above the rounding of weights and the error of eigenvalues


def bound_captured(
    weights: FloatArray, sizes: npt.NDArray[np.int64], *, captured: float
) -> float:
    """Bound the weight inside groups of these sizes from above.

    For any u with sum 0 it is at most Σ sizes_i λ_i(W + diag u), sizes and eigenvalues
    in falling order; subgradient steps look for a u that makes this small.

    Args:
      weights: symmetric, with zero diagonal and sum 1.
      sizes: of all groups.
      captured: what some grouping reaches; the bound's steps aim at it.
    Returns: The bound, rounded up to four digits, and at most 1. The last digit may
      differ between machines.
    Source: Donath and Hoffman 1973; step lengths after Polyak 1969.
    """
    if sizes.max() == 1:
        return 0.0
    rising = np.sort(sizes).astype(np.float64)
    degrees = weights.sum(axis=1)
    u = best_u = (degrees.mean() - degrees) / 2
    best, length, waited = math.inf, _STEP, 0
    for _ in range(_NUM_STEPS):
        value, slope = _evaluate(weights, u, rising)
        if value < best:
            best, best_u, best_slope, waited = value, u, slope, 0
        else:
            waited += 1
        if waited == _PATIENCE:
            length, waited = length / 2, 0
            u, value, slope = best_u, best, best_slope
        if not (square := slope @ slope):
            break
        u = u - length * (value - captured) / square * slope
        u -= u.mean()
    scale = 10**_DIGITS
    return min(1.0, math.ceil((best + _MARGIN) * scale) / scale)


def _evaluate(
    weights: FloatArray, u: FloatArray, rising: FloatArray
) -> tuple[float, FloatArray]:
    """Return Σ sizes_i λ_i(W + diag u), and its slope in u along Σu = 0."""
    from scipy import linalg  # noqa: PLC0415  # a third of the start of --help

    count, num_groups = len(weights), len(rising)
    if num_groups > count // 8:
        values, vectors = linalg.eigh(weights + np.diag(u), driver="evd")
        values, vectors = values[-num_groups:], vectors[:, -num_groups:]
    else:  # the largest few are found sooner
        largest = (count - num_groups, count - 1)
        values, vectors = linalg.eigh(weights + np.diag(u), subset_by_index=largest)
    slope = (vectors**2) @ rising
    return float(values @ rising), slope - slope.mean()
