import numpy as np
import pytest

from transforms.evaluation.convergence import (
    TrainedSet,
    bound_gain,
    find_convergence_epoch,
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
        TrainedSet(np.array(STEADY), 9), np.zeros((3, 3), np.int8)
    )
    assert (result.convergence_epoch, result.images_seen) == (None, None)
    assert (result.convergence_epoch, result.images_seen) == (None, None)


def test_images_seen_are_training_images_times_the_epoch():
    curves = np.array([[LOW, HIGH, HIGH], [MIDDLE] * 3, [0.1, LOW, LOW]])
    result = measure_convergence(TrainedSet(curves, 1_281_167), ALL)
    assert result.images_seen == 2 * 1_281_167
    assert result.convergence_epoch == 2
    assert result.taus == pytest.approx((1 / 3, 1.0, 1.0))


def test_ranks_are_those_of_every_epoch():
    curves = np.array([[LOW, HIGH], [MIDDLE, MIDDLE], [MIDDLE, LOW]])
    assert rank_by_epoch(curves).tolist() == [[3, 1], [1, 2], [2, 3]]


def test_a_share_of_the_pairs_may_be_out_of_order():
    curves = np.array([[LOW, MIDDLE], [MIDDLE, HIGH], [0.1, LOW]])
    assert find_convergence_epoch(curves, ALL) is None
    assert find_convergence_epoch(curves, ALL, share=2 / 3) == 1


SLOW = TrainedSet(np.array([[0.1, 0.2, HIGH], [MIDDLE] * 3, [LOW] * 3]), 1000)
FAST = TrainedSet(np.array([[0.1, HIGH, HIGH], [MIDDLE] * 3, [LOW] * 3]), 100)


def test_gain_is_known_up_to_an_epoch_on_either_set():
    gain = bound_gain(SLOW, FAST, decisions=ALL, share=1, families="abc", seed=0)
    assert gain == (2 * 1000 / (2 * 100), 3 * 1000 / (1 * 100))
    others = TrainedSet(SLOW.curves[:, [0, 0, 0, 2]], 1000)
    same = bound_gain(
        others,
        TrainedSet(others.curves, 100),
        decisions=ALL,
        share=1,
        families="aaa",
        seed=0,
    )
    assert same == (3 * 1000 / (4 * 100), 4 * 1000 / (3 * 100))


def test_gain_of_a_subset_that_does_not_converge_is_zero():
    never = TrainedSet(FAST.curves[::-1], 100)
    gain = bound_gain(SLOW, never, decisions=ALL, share=1, families="aaa", seed=0)
    assert gain == (0, 0)
    first = TrainedSet(np.array(STEADY), 1000)
    assert (
        bound_gain(first, FAST, decisions=ALL, share=1, families="abc", seed=0) is None
    )
    none = np.zeros((3, 3), np.int8)
    assert (
        bound_gain(SLOW, FAST, decisions=none, share=1, families="abc", seed=0) is None
    )
