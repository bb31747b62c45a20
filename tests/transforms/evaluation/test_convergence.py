import numpy as np
import pytest

from transforms.evaluation import significance
from transforms.evaluation.convergence import (
    find_convergence_epoch,
    is_significant_from_start,
    measure_convergence,
    rank_by_epoch,
)

HIGH, MIDDLE, LOW = 0.9, 0.6, 0.3
STEADY = [[HIGH, HIGH, HIGH], [MIDDLE, MIDDLE, MIDDLE], [LOW, LOW, LOW]]
ALL = np.array([[0, 1, 1], [-1, 0, 1], [-1, -1, 0]], np.int8)


@pytest.mark.parametrize(
    ("curves", "epoch"),
    [
        (STEADY, 1),
        ([[LOW, HIGH, HIGH], [MIDDLE, MIDDLE, MIDDLE], [0.1, LOW, LOW]], 2),
        # right at first, then wrong once more: it must stay right
        ([[HIGH, HIGH, LOW, HIGH], [MIDDLE] * 4, [0.1, 0.1, 0.1, 0.1]], 4),
        # a tie is no agreement
        ([[MIDDLE, HIGH], [MIDDLE, MIDDLE], [LOW, LOW]], 2),
        # the last epoch itself is another: it never is
        ([[HIGH, MIDDLE], [MIDDLE, HIGH], [LOW, LOW]], None),
    ],
    ids=["at once", "second", "not final", "tie", "never"],
)
def test_convergence_epoch_is_the_first_that_stays(curves, epoch):
    assert find_convergence_epoch(np.array(curves), ALL) == epoch


def test_only_decided_pairs_must_be_in_order():
    curves = np.array([[LOW, 0.61], [MIDDLE, MIDDLE], [0.1, 0.1]])
    assert find_convergence_epoch(curves, ALL) == 2
    first_two_undecided = ALL.copy()
    first_two_undecided[0, 1] = first_two_undecided[1, 0] = 0
    assert find_convergence_epoch(curves, first_two_undecided) == 1


def test_no_epoch_converges_without_significant_pairs():
    result = measure_convergence(
        np.array(STEADY), np.zeros((3, 3), np.int8), train_images=9
    )
    assert (result.convergence_epoch, result.images_seen) == (None, None)
    assert (result.convergence_epoch, result.images_seen) == (None, None)


def test_images_seen_are_training_images_times_the_epoch():
    curves = np.array([[LOW, HIGH, HIGH], [MIDDLE] * 3, [0.1, LOW, LOW]])
    result = measure_convergence(curves, ALL, train_images=1_281_167)
    assert result.images_seen == 2 * 1_281_167
    assert result.convergence_epoch == 2
    assert result.taus == pytest.approx((1 / 3, 1.0, 1.0))


def test_ranks_are_those_of_every_epoch():
    curves = np.array([[LOW, HIGH], [MIDDLE, MIDDLE], [MIDDLE, LOW]])
    assert rank_by_epoch(curves).tolist() == [[3, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("curves", "num_images", "expected"),
    [
        (STEADY, 10_000, True),
        (STEADY, 10, False),  # too few images to tell
        (
            [[0.601, HIGH], [MIDDLE, MIDDLE], [LOW, LOW]],
            10_000,
            False,
        ),  # close at first
        ([[LOW, HIGH], [MIDDLE, MIDDLE], [HIGH, LOW]], 10_000, False),  # reversed
    ],
    ids=["far", "few images", "close", "reversed"],
)
def test_significant_from_the_first_epoch_is_detected(curves, num_images, expected):
    array = np.array(curves)
    final = significance.compare_all_pairs(array[:, -1], num_images).decisions
    assert is_significant_from_start(array, final, num_images) is expected
