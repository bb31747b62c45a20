import numpy as np
import pytest

from tests.transforms.grouping.test_balanced_partition import (
    _all_groupings,
    _captured,
    _weights,
)
from transforms.grouping import balanced


def _bound(weights, num_groups):
    sizes = balanced.group_sizes(len(weights), num_groups)
    groups = balanced.partition(weights, num_groups, seed=0)
    captured = _captured(weights, groups)
    return captured, balanced.bound_captured(weights, sizes, captured=captured)


@pytest.mark.parametrize("num_groups", [2, 3, 4, 8])
def test_nothing_captures_more_than_the_bound(num_groups):
    for seed in range(10):
        weights = _weights(seed, 8)
        _, bound = _bound(weights, num_groups)
        groupings = _all_groupings(8, num_groups)
        assert max(_captured(weights, groups) for groups in groupings) <= bound <= 1


@pytest.mark.parametrize("num_groups", [2, 7, 20, 59, 60])
def test_bound_exceeds_the_captured_share(num_groups):
    captured, bound = _bound(_weights(1, 60), num_groups)
    assert captured <= bound <= 1


def test_bound_is_tight_for_block_matrices():
    place = np.arange(40) % 8
    weights = balanced.normalise((place[:, None] == place).astype(float))
    captured, bound = _bound(weights, 8)
    assert captured == pytest.approx(1)
    assert bound == 1


def test_groups_of_one_class_capture_nothing():
    assert _bound(_weights(0, 9), 9) == (0, 0)


def test_bound_has_four_digits():
    _, bound = _bound(_weights(2, 30), 5)
    assert bound == round(bound, 4)
