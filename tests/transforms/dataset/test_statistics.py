"""Where validation images come from, and which classes miss a split."""

import pytest

from transforms.dataset import statistics
from transforms.grouping.table import GroupRow, GroupTable
from transforms.records import Failure

TENCH, GOLDFISH, COBRA, OUTSIDE = "n01440764", "n01443537", "n01748264", "n99999999"
TABLE = GroupTable((
    GroupRow(TENCH, 0, "tench", 0, "fish"),
    GroupRow(GOLDFISH, 1, "goldfish", 0, "fish"),
    GroupRow(COBRA, 63, "Indian cobra", 1, "snake"),
    GroupRow(OUTSIDE, -1, OUTSIDE, -1, ""),
))


def describe(found, chosen, failures=()):
    return statistics.describe(
        table=TABLE, found=found, bad={}, chosen=chosen, failures=failures
    )


def test_held_out_images_are_counted_by_class():
    described = describe(
        {"train": {TENCH: 9, GOLDFISH: 9, COBRA: 9}, "validation": {TENCH: 2}},
        {"train": {TENCH: 4, COBRA: 4}, "validation": {TENCH: 3, COBRA: 2}},
    )
    assert described["validation"] == {
        "official": 2,
        "held_out": 3,
        "trained_classes": 2,
        "validated_classes": 2,
        "untrained_wnids": [],
        "unvalidated_wnids": [],
    }
    held_out = {entry["wnid"]: entry["held_out"] for entry in described["classes"]}
    assert held_out == {TENCH: 1, GOLDFISH: 0, COBRA: 2}
    assert statistics.describe_splits(described) == [
        "validation images: 2 official, 3 held out of training"
    ]


def test_official_images_of_classes_without_a_group_are_no_validation_images():
    found = {"train": {TENCH: 9}, "validation": {TENCH: 2, OUTSIDE: 50}}
    described = describe(found, {"train": {TENCH: 4}, "validation": {TENCH: 2}})
    assert described["validation"]["official"] == 2
    assert described["validation"]["held_out"] == 0


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        (
            {"train": {TENCH: 4}, "validation": {TENCH: 1, COBRA: 1, OUTSIDE: 1}},
            "1 classes trained, 3 validated; no training images: Indian cobra "
            "(n01748264), n99999999",
        ),
        (
            {"fold_a": {TENCH: 1}, "fold_b": {COBRA: 1}, "validation": {COBRA: 1}},
            "2 classes trained, 1 validated; no validation images: tench (n01440764)",
        ),
    ],
    ids=["not trained", "not validated"],
)
def test_classes_that_miss_a_split_are_named(chosen, line):
    found = {
        "train": {TENCH: 4, COBRA: 4},
        "validation": {TENCH: 1, COBRA: 1, OUTSIDE: 1},
    }
    assert statistics.describe_splits(describe(found, chosen))[1:] == [line]


def test_class_whose_training_images_all_failed_is_named():
    failure = Failure("n01748264_1", "train", 1, COBRA, "x.tar at byte 0", "truncated")
    described = describe(
        {"train": {TENCH: 4, COBRA: 1}, "validation": {TENCH: 1, COBRA: 1}},
        {"train": {TENCH: 4, COBRA: 1}, "validation": {TENCH: 1, COBRA: 1}},
        [failure],
    )
    assert described["validation"]["untrained_wnids"] == [COBRA]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_set_of_one_split_misses_none(split):
    counts = {split: {TENCH: 4, COBRA: 4}}
    lines = statistics.describe_splits(describe(counts, counts))
    assert not any("classes trained" in line for line in lines)


def test_warning_names_the_flag_and_a_value_that_holds_out_nothing():
    found = {"train": {TENCH: 9}, "validation": {TENCH: 2}}
    chosen = {"train": {TENCH: 4}, "validation": {TENCH: 5}}
    assert statistics.find_warning(describe(found, chosen), 5) == (
        "warning: 3 of 5 validation images are training images, held out to reach "
        "--min_validation_images 5; lower it to 2 to validate on official images only"
    )
    without = describe({"train": {TENCH: 9}}, chosen)
    assert "5 of 5 validation images" in statistics.find_warning(without, 5)
    assert "--input, or set it to 0" in statistics.find_warning(without, 5)
    official = {"train": {TENCH: 4}, "validation": {TENCH: 2}}
    assert statistics.find_warning(describe(found, official), 2) == ""


def test_statistics_of_version_0_1_0_are_described_without_them():
    assert statistics.describe_splits({"totals": {}}) == []
    assert statistics.find_warning({"totals": {}}, 5) == ""
