import itertools

import numpy as np
import pytest

from tests.transforms.grouping.test_balanced_partition import _weights
from transforms.grouping import balanced, sequential


def _heaviest(weights, left, size):
    """Return the heaviest set by definition, ties in lexicographic order."""
    inside = {
        chosen: weights[np.ix_(chosen, chosen)].sum()
        for chosen in itertools.combinations(left, size)
    }
    most = max(inside.values())
    return min(chosen for chosen, weight in inside.items() if weight == most)


@pytest.mark.parametrize(
    ("num_classes", "num_groups"), [(8, 2), (9, 3), (9, 4), (7, 7)]
)
def test_every_step_takes_the_heaviest_set(num_classes, num_groups):
    for seed in range(10):
        weights = _weights(seed, num_classes)
        groups = sequential.partition(weights, num_groups)
        left = list(range(num_classes))
        sizes = balanced.group_sizes(num_classes, num_groups).tolist()
        for group, size in enumerate(sizes):
            expected = _heaviest(weights, left, size)
            assert np.flatnonzero(groups == group).tolist() == list(expected)
            left = [c for c in left if c not in expected]


def test_heuristic_steps_are_mostly_optimal(monkeypatch):
    monkeypatch.setattr(sequential, "_MAX_ENUMERATED", 0)
    optimal = 0
    for seed in range(20):
        weights = _weights(seed, 12)
        found = sequential.find_heaviest(weights, 4)
        best = _heaviest(weights, range(12), 4)
        optimal += weights[np.ix_(found, found)].sum() == (
            weights[np.ix_(best, best)].sum()
        )
    assert optimal == 20


def test_without_weights_classes_are_taken_in_order():
    groups = sequential.partition(np.zeros((40, 40)), 4)
    assert groups.tolist() == [g for g in range(4) for _ in range(10)]


@pytest.mark.parametrize("num_groups", [2, 10, 100, 999, 1000])
def test_sizes_are_exact_for_a_thousand_classes(num_groups):
    place = np.arange(1000)
    near = (np.abs(place[:, None] - place) == 1).astype(float)
    groups = sequential.partition(balanced.normalise(near), num_groups)
    sizes = balanced.group_sizes(1000, num_groups)
    assert np.bincount(groups).tolist() == sizes.tolist()
