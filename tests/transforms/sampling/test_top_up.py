import pytest

from transforms.sampling.allocation import validation_top_up


@pytest.mark.parametrize(
    ("num_validation", "num_train", "target", "top_ups"),
    [
        ({0: 50, 1: 50}, {0: 1300, 1: 1300}, 100, {0: 0, 1: 0}),
        ({0: 50, 1: 50}, {0: 1300, 1: 1300}, 40, {0: 0, 1: 0}),
        ({0: 50, 1: 50}, {0: 1300, 1: 1300}, 300, {0: 100, 1: 100}),
        ({0: 0, 1: 100}, {0: 1300, 1: 1300}, 300, {0: 100, 1: 100}),
        ({0: 50, 1: 50}, {0: 30, 1: 1300}, 300, {0: 30, 1: 170}),
        ({0: 50, 1: 50}, {0: 30, 1: 60}, 300, {0: 30, 1: 60}),
        ({0: 0, 1: 0}, {0: 0, 1: 10}, 4, {0: 0, 1: 4}),
        ({}, {}, 10, {}),
    ],
    ids=[
        "enough",
        "more_than_enough",
        "shared_equally",
        "equal_shares_not_equal_totals",
        "a_small_group_gives_all",
        "all_that_there_is",
        "an_empty_group",
        "no_groups",
    ],
)
def test_top_up(num_validation, num_train, target, top_ups):
    assert validation_top_up(num_validation, num_train, target) == top_ups


def test_remaining_images_are_distributed_deterministically():
    top_ups = validation_top_up({}, dict.fromkeys(range(5), 9), 12)
    assert sorted(top_ups.values()) == [2, 2, 2, 3, 3]
    assert top_ups == validation_top_up({}, dict.fromkeys(reversed(range(5)), 9), 12)
