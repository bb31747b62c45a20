import functools
import itertools

import numpy as np
import pytest

from transforms import seeds
from transforms.grouping import balanced
from transforms.grouping.balanced import UNIT


def _weights(seed, num_classes, *, most=7):
    keys = (f"{a},{b}" for a in range(num_classes) for b in range(num_classes))
    counts = seeds.orders(seed, "draw", keys).reshape(num_classes, num_classes) % most
    return balanced.normalise(np.maximum(counts - 2.0, 0))


def _captured(weights, groups):
    groups = np.asarray(groups)
    return float(weights[groups[:, None] == groups].sum())


@functools.cache
def _all_groupings(num_classes, num_groups):
    """Yield every partition of classes into groups of these sizes, up to renaming."""
    sizes = balanced.group_sizes(num_classes, num_groups).tolist()

    def deal(left, sizes):
        if not sizes:
            yield {}
            return
        first_may_be = left[:1] if len(set(sizes)) == 1 else left
        for chosen in itertools.combinations(left, sizes[0]):
            if len(set(sizes)) > 1 or chosen[0] in first_may_be:
                rest = [c for c in left if c not in chosen]
                for others in deal(rest, sizes[1:]):
                    yield {**dict.fromkeys(chosen, len(sizes)), **others}

    dealt = deal(list(range(num_classes)), sizes)
    return [[groups[c] for c in range(num_classes)] for groups in dealt]


@pytest.mark.parametrize(
    ("num_classes", "num_groups", "optimal"),
    [(8, 2, 20), (8, 3, 20), (8, 4, 20), (9, 3, 19), (9, 4, 18)],
)
def test_small_instances_are_solved_to_the_optimum(num_classes, num_groups, optimal):
    solved = 0
    for seed in range(20):
        weights = _weights(seed, num_classes)
        groups = balanced.partition(weights, num_groups, seed=0)
        best = max(
            _captured(weights, g) for g in _all_groupings(num_classes, num_groups)
        )
        found = _captured(weights, groups)
        assert found <= best
        solved += found == best
    assert solved == optimal


@pytest.mark.parametrize("num_groups", [2, 10, 20, 100, 200, 999, 1000])
def test_sizes_are_exact_for_a_thousand_classes(num_groups):
    place = np.arange(1000)
    block = (place[:, None] * 7 % 50 == place * 7 % 50).astype(float)
    near = (np.abs(place[:, None] - place) == 1) / 4
    weights = balanced.normalise(block + near)
    groups = balanced.partition(weights, num_groups, seed=0, num_sweeps=2)
    sizes = np.bincount(groups).tolist()
    assert sorted(sizes, reverse=True) == (
        balanced.group_sizes(1000, num_groups).tolist()
    )


def test_hidden_blocks_are_found():
    place = np.arange(60) * 7 % 12
    weights = balanced.normalise((place[:, None] == place) + _weights(1, 60) * 1000)
    groups = balanced.partition(weights, 12, seed=0)
    assert len(set(zip(place.tolist(), groups.tolist(), strict=True))) == 12


def test_result_is_reproducible_and_depends_on_the_seed():
    weights = _weights(3, 120, most=9)
    runs = [balanced.partition(weights, 12, seed=s) for s in (0, 0, 1, 2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert any((runs[0] != other).any() for other in runs[2:])


def test_golden_partition():
    groups = balanced.partition(_weights(5, 12), 4, seed=0)
    assert groups.tolist() == [3, 1, 2, 3, 2, 1, 3, 0, 1, 0, 0, 2]


def test_weights_do_not_depend_on_the_order_of_classes():
    raw = _weights(8, 50) * (1 / 3)
    order = np.argsort(seeds.orders(0, "draw", map(str, range(50))))
    shuffled = balanced.normalise(raw[np.ix_(order, order)])
    weights = balanced.normalise(raw)
    assert shuffled.tobytes() == weights[np.ix_(order, order)].tobytes()
    assert (weights / UNIT == np.rint(weights / UNIT)).all()
    assert weights.sum() == pytest.approx(1, abs=1e-8)


def test_isolated_classes_fill_the_groups():
    weights = np.zeros((10, 10))
    weights[0, 1] = weights[1, 0] = 0.5
    groups = balanced.partition(weights, 3, seed=0)
    assert groups[0] == groups[1]
    assert sorted(np.bincount(groups).tolist()) == [3, 3, 4]
    empty = balanced.partition(np.zeros((7, 7)), 2, seed=0)
    assert sorted(np.bincount(empty).tolist()) == [3, 4]


def test_swaps_never_reduce_the_weight():
    weights = _weights(4, 60)
    start = balanced.pack(weights, balanced.agglomerate(weights, 9), 7)
    better = balanced.partition(weights, 7, seed=0)
    assert _captured(weights, better) >= _captured(weights, start)


def test_clusters_merge_by_mean_weight_up_to_the_cap():
    weights = np.zeros((5, 5))
    for a, b, weight in [(0, 1, 4), (1, 2, 3), (3, 4, 1), (2, 3, 2)]:
        weights[a, b] = weights[b, a] = weight / 8
    merge = balanced.agglomerate
    assert merge(weights, 1) == [[0], [1], [2], [3], [4]]
    assert merge(weights, 2) == [[0, 1], [2, 3], [4]]
    assert merge(weights, 3) == [[0, 1, 2], [3, 4]]
    assert merge(weights, 5) == [[0, 1, 2, 3, 4]]


def test_cluster_that_fits_in_no_group_is_split():
    weights = np.zeros((6, 6))
    weights[0, 1] = weights[1, 0] = weights[4, 5] = weights[5, 4] = 0.25
    groups = balanced.pack(weights, [[0, 1, 4, 5], [2, 3]], 2)
    assert np.bincount(groups).tolist() == [3, 3]


def test_noise_is_exponential_and_exact():
    noise = balanced.make_noise("key", 4096)
    assert noise.min() >= 0
    assert abs(noise.mean() - 1.5) < 0.1  # ln 2 of a bit more than the true logarithm
    assert (noise * 2**60 == np.rint(noise * 2**60)).all()
    again = balanced.make_noise("key", 4096)
    assert noise.tobytes() == again.tobytes()
