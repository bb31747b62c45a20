"""Partition classes into N groups of equal size (±1) with much weight inside groups.

Agglomeration builds clusters, packing turns them into N groups of exact sizes, pairwise
swaps improve the groups, and simulated annealing escapes local optima. Weights are
multiples of 2⁻⁴⁰, so that sums are exact and every machine finds the same groups; the
number of annealing steps does not depend on the machine's speed.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transforms import seeds
from transforms.arrays import FloatArray, IntArray
from transforms.progress import make_bar

UNIT = 2.0**-40
_NUM_SWEEPS, _MIN_SWEEPS = 100, 10
# One per annealing run; tuned on measured confusion matrices for N = 10…200.
_TEMPERATURES = (0.004, 0.006, 0.01)
_MAX_PROPOSALS = 100_000_000  # swaps evaluated in one annealing run
_NOISE_TABLE_SIZE = 1 << 17
_EXCLUDED_GAIN = -9.0  # below every possible gain
_NUM_BOUND_STEPS = 20
_BOUND_PATIENCE = 2
_BOUND_STEP = 0.4
_BOUND_DIGITS = 4
_BOUND_MARGIN = 1e-8  # exceeds weight rounding and eigenvalue error


def normalise(weights: FloatArray) -> FloatArray:
    """Make weights symmetric, with zero diagonal and sum 1, in multiples of 2⁻⁴⁰.

    The sum is computed exactly, so the result does not depend on the class order.

    Args:
      weights: shape (classes, classes), ≥ 0.

    Returns:
      Normalised weights, shape (classes, classes); all 0 if every weight off the
      diagonal is 0.
    """
    both = weights + weights.T
    np.fill_diagonal(both, 0)
    total = math.fsum(both[both > 0].tolist())
    return np.rint(both / (total or 1.0) / UNIT) * UNIT


def group_sizes(num_classes: int, num_groups: int) -> IntArray:
    """Return the sizes of N groups that together have n classes, shape (groups,).

    The first n mod N groups have ⌈n/N⌉ classes, the others ⌊n/N⌋.
    """
    size, num_larger = divmod(num_classes, num_groups)
    return np.array([size + (number < num_larger) for number in range(num_groups)])


def partition(
    weights: FloatArray,
    num_groups: int,
    *,
    seed: int,
    num_sweeps: int = _NUM_SWEEPS,
) -> IntArray:
    """Group classes to maximise the weight inside groups, by a heuristic search.

    Args:
      weights: shape (classes, classes), from `normalise`.
      num_groups: N, at most the number of classes.
      seed: seed of the annealing noise.
      num_sweeps: maximum number of sweeps over all classes in each of the three
        annealing runs. The best of their results and their common start is returned.

    Returns:
      The group of each class, shape (classes,); sizes follow `group_sizes`.

    Source: Kernighan and Lin, 1970, for pairwise swaps. The annealing, which compares
      all swaps of a class at once, is this project's.
    """
    largest = -(-len(weights) // num_groups)
    clusters = agglomerate(weights, largest)
    best = _Swaps(weights, pack(weights, clusters, num_groups), num_groups)
    best.descend()
    start = best.groups.copy()
    if num_groups > 1 and largest > 1:
        num_sweeps = best.limit_sweeps(num_sweeps)
        total = len(_TEMPERATURES) * num_sweeps
        with make_bar("grouping", total=total, unit="sweep", delay_s=1) as bar:
            for number, temperature in enumerate(_TEMPERATURES):
                candidate = _Swaps(weights, start, num_groups)
                key = seeds.order(seed, "group", f"anneal {number}")
                for _ in candidate.anneal(key, num_sweeps, temperature=temperature):
                    bar.update()
                candidate.descend()
                best = max(best, candidate, key=_Swaps.captured)
    return best.groups


def agglomerate(weights: FloatArray, cap: int) -> list[list[int]]:
    """Repeatedly merge the two clusters with the largest w(A,B)/√(|A||B|).

    w(A,B) is the sum of the weights between A and B. Ties are broken by the smallest
    class of A, then of B. Merging stops when no pair with w(A,B) > 0 fits into `cap`
    classes.

    Args:
      weights: shape (classes, classes), from `normalise`.
      cap: maximum number of classes in a cluster.

    Returns:
      The class indices of each cluster.
    """
    links = [_list_neighbours(row) for row in weights]
    clusters = [[number] for number in range(len(weights))]  # by smallest class
    heap: list[tuple[float, int, int]] = []

    def offer(first: int, second: int) -> None:
        sizes = len(clusters[first]), len(clusters[second])
        if sum(sizes) <= cap:
            rank = -links[first][second] / math.sqrt(sizes[0] * sizes[1])
            heapq.heappush(heap, (rank, min(first, second), max(first, second)))

    if cap > 1:
        heap += [
            (-weight, first, second)
            for first, neighbours in enumerate(links)
            for second, weight in neighbours.items()
            if first < second
        ]
        heapq.heapify(heap)
    while heap:
        rank, first, second = heapq.heappop(heap)
        sizes = len(clusters[first]), len(clusters[second])
        weight = links[first].get(second)
        if weight is None or rank != -weight / math.sqrt(max(1, sizes[0] * sizes[1])):
            continue  # stale: merged in the meantime
        if sum(sizes) > cap:
            continue
        clusters[first] += clusters[second]
        clusters[second] = []
        for third, weight in links[second].items():
            del links[third][second]
            if third != first:
                links[first][third] = links[third][first] = (
                    links[first].get(third, 0.0) + weight
                )
        links[second] = {}
        for third in links[first]:
            offer(first, third)
    return [cluster for cluster in clusters if cluster]


def _list_neighbours(row: FloatArray) -> dict[int, float]:
    columns = np.flatnonzero(row)
    return dict(zip(columns.tolist(), row[columns].tolist(), strict=True))


def pack(
    weights: FloatArray, clusters: Iterable[Sequence[int]], num_groups: int
) -> IntArray:
    """Assign clusters to groups with the sizes of `group_sizes`, largest cluster first.

    Each cluster goes to the group with enough room that gains the most weight; ties go
    to the group with the least room. A cluster that fits nowhere is split: its most
    tightly connected classes fill the group with the most room.

    Args:
      weights: shape (classes, classes), from `normalise`.
      clusters: class indices of each cluster; every class is in exactly one.
      num_groups: N.

    Returns:
      The group of each class, shape (classes,).
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
            ranked = [cluster[position] for position in np.lexsort((cluster, -inside))]
            max_room = int(room.max())
            for part in (ranked[:max_room], ranked[max_room:]):
                heapq.heappush(queue, (-len(part), min(part), part))
            continue
        gain = affinity[fitting][:, cluster].sum(axis=1)
        group = fitting[np.lexsort((room[fitting], -gain))[0]]
        groups[cluster] = group
        room[group] -= len(cluster)
        affinity[group] += weights[cluster].sum(axis=0)
    return groups


class _Swaps:
    """Groups that are improved by swapping classes.

    The affinity of a class to a group, i.e. the sum of its weights to the classes of
    the group, is updated incrementally.

    If sizes differ, each smaller group is padded with one empty slot, a class with zero
    weights; swapping a class with an empty slot moves the class.
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
        self._self_affinity = self._affinity[self._group_of, np.arange(len(inside))]

    @property
    def groups(self) -> IntArray:
        """The group of each class, shape (classes,)."""
        return self._group_of[: self._num_classes]

    def captured(self) -> float:
        """Return the share of the weight that is inside groups, 0 to 1."""
        return float(self._self_affinity.sum())

    def descend(self) -> None:
        """Swap classes until no swap increases the weight inside groups."""
        while sum(self._visit(number) for number in range(self._num_classes)):
            pass

    def limit_sweeps(self, num_sweeps: int) -> int:
        """Reduce the number of sweeps for large inputs, to bound the running time."""
        max_sweeps = _MAX_PROPOSALS // (self._num_classes * len(self._group_of))
        return min(num_sweeps, max(_MIN_SWEEPS, max_sweeps))

    def anneal(
        self, key: int, num_sweeps: int, *, temperature: float
    ) -> Iterator[None]:
        """Sweep over all classes repeatedly, adding decreasing noise to the gains.

        Args:
          key: seed of the noise and of the order of the classes.
          num_sweeps: number of sweeps.
          temperature: initial scale of the noise.

        Yields:
          None after each sweep, for a progress bar.
        """
        count = self._num_classes
        noise = make_noise(f"{key} noise", _NOISE_TABLE_SIZE + len(self._group_of) + 1)
        size = len(self._group_of) // len(self._has_empty)
        scale = temperature * math.sqrt(size) / count
        for sweep in range(num_sweeps):
            order = np.argsort(
                _hash_integers(f"{key} order {sweep}", count), kind="stable"
            )
            starts = _hash_integers(f"{key} start {sweep}", count) % np.uint64(
                _NOISE_TABLE_SIZE
            )
            scaled_noise = scale * noise
            for number, start in zip(order.tolist(), starts.tolist(), strict=True):
                self._visit(number, scaled_noise[start:])
            scale *= 1 - 2 / num_sweeps  # e⁻² in total
            yield

    def _visit(self, number: int, noise: FloatArray | None = None) -> bool:
        """Swap a class with its best partner if that adds weight inside groups.

        Args:
          number: index of the class.
          noise: shape (n,) with n > classes + empty slots; added to the gain of each
            partner, then to that of not swapping. None for no noise.

        Returns:
          Whether a swap was made.
        """
        group_of, group = self._group_of, self._group_of[number]
        gains = self._affinity[:, number].take(group_of)
        gains += self._affinity[group]
        gains -= self._self_affinity
        gains -= 2 * self._weights[number]
        gains -= self._self_affinity[number]
        min_gain = UNIT / 2
        if noise is not None:
            gains += noise[: len(gains)]
            min_gain = float(noise[len(gains)])  # noise of the option not to swap
        np.putmask(gains, group_of == group, _EXCLUDED_GAIN)
        if self._has_empty[group]:
            gains[self._num_classes :] = _EXCLUDED_GAIN
        partner = int(gains.argmax())
        if gains[partner] <= min_gain:
            return False
        self._swap(number, partner)
        return True

    def _swap(self, number: int, partner: int) -> None:
        group_of = self._group_of
        group, target = group_of[number], group_of[partner]
        change = self._weights[partner] - self._weights[number]
        self._affinity[group] += change
        self._affinity[target] -= change
        group_of[number], group_of[partner] = target, group
        if partner >= self._num_classes:
            self._has_empty[group], self._has_empty[target] = True, False
        for changed in (group, target):
            inside = group_of == changed
            self._self_affinity[inside] = self._affinity[changed][inside]


def make_noise(key: str, count: int) -> FloatArray:
    """Return approximately exponential noise, shape (count,).

    The values are −log₂ of uniform numbers from a hash. The logarithm is
    interpolated linearly between powers of two, because the results of `log` differ
    between machines.

    Args:
      key: key of the hash.
      count: number of values to return.
    """
    uniform = ((_hash_integers(key, count) >> np.uint64(12)) + 0.5) * 2.0**-52
    mantissa, exponent = np.frexp(uniform)
    noise: FloatArray = 2 - exponent - 2 * mantissa
    return noise


def _hash_integers(key: str, count: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(8 * count), "<u8")


def bound_captured(
    weights: FloatArray, sizes: npt.NDArray[np.int64], *, captured: float
) -> float:
    """Return an upper bound on the weight inside any groups of these sizes.

    For any u with sum 0, the weight is at most Σ sizes_i λ_i(W + diag u), with sizes
    and eigenvalues in descending order; subgradient descent minimises this over u.

    Args:
      weights: W, shape (classes, classes), symmetric, with zero diagonal and sum 1.
      sizes: shape (groups,), number of classes in each group.
      captured: the weight inside a known grouping, 0 to 1; sets the step lengths.

    Returns:
      The bound, at most 1, rounded up to four decimals. The last digit may differ
      between machines.

    Source: Donath and Hoffman, 1973; step lengths after Polyak, 1969.
    """
    if sizes.max() == 1:
        return 0.0
    ascending_sizes = np.sort(sizes).astype(np.float64)
    degrees = weights.sum(axis=1)
    u = best_u = (degrees.mean() - degrees) / 2
    best, length, waited = math.inf, _BOUND_STEP, 0
    for _ in range(_NUM_BOUND_STEPS):
        value, gradient = _evaluate(weights, u, ascending_sizes)
        if value < best:
            best, best_u, best_gradient, waited = value, u, gradient, 0
        else:
            waited += 1
        if waited == _BOUND_PATIENCE:
            length, waited = length / 2, 0
            u, value, gradient = best_u, best, best_gradient
        if not (square := gradient @ gradient):
            break
        u = u - length * (value - captured) / square * gradient
        u -= u.mean()
    scale = 10**_BOUND_DIGITS
    return min(1.0, math.ceil((best + _BOUND_MARGIN) * scale) / scale)


def _evaluate(
    weights: FloatArray, u: FloatArray, ascending_sizes: FloatArray
) -> tuple[float, FloatArray]:
    """Return Σ sizes_i λ_i(W + diag u) and its gradient in u, projected to Σu = 0.

    Args:
      weights: W, shape (classes, classes).
      u: shape (classes,).
      ascending_sizes: shape (groups,); the largest size belongs to the largest λ.
    """
    from scipy import linalg

    count, num_groups = len(weights), len(ascending_sizes)
    if num_groups > count // 8:
        values, vectors = linalg.eigh(weights + np.diag(u), driver="evd")
        values, vectors = values[-num_groups:], vectors[:, -num_groups:]
    else:  # a few largest eigenvalues are faster
        largest = (count - num_groups, count - 1)
        values, vectors = linalg.eigh(weights + np.diag(u), subset_by_index=largest)
    gradient = (vectors**2) @ ascending_sizes
    return float(values @ ascending_sizes), gradient - gradient.mean()
