import math

import numpy as np
import pytest

from transforms.evaluation import significance
from transforms.evaluation.significance import (
    count_told_apart,
    describe_power,
    images_needed,
    measure_power,
)

# validation images, SE, smallest gap paired and unpaired in points, measured once on 64
# models of ImageNet at an accuracy of 0.76
TABLE = [
    (500, 1.91, 3.0, 5.3),
    (1000, 1.35, 2.1, 3.7),
    (2000, 0.95, 1.5, 2.6),
    (5000, 0.60, 0.9, 1.7),
    (10_000, 0.43, 0.67, 1.18),
    (20_000, 0.30, 0.5, 0.8),
]


@pytest.mark.parametrize(("images", "error", "paired", "unpaired"), TABLE)
def test_gaps_are_those_that_were_measured(images, error, paired, unpaired):
    power = measure_power(images, 100)
    assert 100 * power.standard_error == pytest.approx(error, abs=0.006)
    assert 100 * power.paired_gap == pytest.approx(paired, abs=0.05)
    assert 100 * power.unpaired_gap == pytest.approx(unpaired, abs=0.05)


def test_a_group_has_its_share_of_the_images():
    power = measure_power(10_000, 25, disagreement=0.1)
    assert power.images_per_group == 400
    alone = significance.smallest_paired_gap(400, disagreement=0.1)
    assert power.group_gap == pytest.approx(alone)


@pytest.mark.parametrize(
    ("images", "groups", "accuracy"), [(0, 1, 0.5), (1, 0, 0.5), (1, 1, 2)]
)
def test_numbers_that_cannot_be_are_refused(images, groups, accuracy):
    with pytest.raises(ValueError, match="at least one"):
        measure_power(images, groups, accuracy=accuracy)


def test_pairs_that_are_told_apart_are_counted():
    accuracies = [0.70, 0.71, 0.72, 0.80]
    assert count_told_apart(accuracies, 10_000) == (4, 6)
    assert count_told_apart(accuracies, 10_000, disagreement=0.1) == (6, 6)
    assert count_told_apart(accuracies, 10_000, disagreement=0.3) == (4, 6)


def test_so_many_images_as_are_needed_decide_a_pair():
    correct = np.zeros((2, 1000), bool)
    correct[0, :60] = correct[1, 50:90] = True  # 50 for the first only, 30 the second
    full = np.array([[0, 1], [-1, 0]], np.int8)
    needed = images_needed(correct, full)
    assert needed == math.floor(1.96**2 * 0.08 / 0.02**2) + 1
    gap = significance.smallest_paired_gap(needed, disagreement=0.08)
    assert gap < 0.02 < significance.smallest_paired_gap(needed - 1, disagreement=0.08)


def test_no_number_of_images_decides_a_pair_of_the_other_order():
    correct = np.array([[True, False, False], [True, True, False]])
    full = np.array([[0, 1], [-1, 0]], np.int8)
    assert images_needed(correct, full) is None
    assert images_needed(correct, -full) == math.floor(1.96**2 * 3) + 1
    assert images_needed(correct, np.zeros((2, 2), np.int8)) is None


def test_power_is_described_in_words():
    assert describe_power(10_000, 100) == [
        ("standard error at an accuracy of 76%", "0.43 points"),
        ("smallest gap told, models on the same images", "0.67 points"),
        ("smallest gap told, by accuracies alone", "1.2 points"),
        ("validation images a group", "100"),
        ("smallest gap told within a group", "6.7 points"),
    ]
