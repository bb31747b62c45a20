"""Labels against names and the official table, over all parts of an input."""

import random

import pytest

from transforms.labels import agreement, validation
from transforms.labels.agreement import PartLabels
from transforms.labels.classes import load_classes
from transforms.labels.image_names import NumberLabels
from transforms.records import ByteRange, ImageRef

WNIDS = [info.wnid for info in load_classes()]
OFFICIAL = validation.official_labels()
PERMUTED = dict(zip(WNIDS, random.Random(0).sample(WNIDS, 1000), strict=True))


def check(labels):
    """Judge images by key, in parts as an input has them."""
    refs = [
        ImageRef(key, wnid, "validation", 0, "", ByteRange(0, 0))
        for key, wnid in labels.items()
    ]
    thirds = (refs[start::3] for start in range(3))
    return agreement.check(
        PartLabels(official=agreement.compare_with_official(part)) for part in thirds
    )


def select(wnids, per_class=50):
    """Return the official labels of some classes."""
    counts = dict.fromkeys(wnids, per_class)
    selected = {}
    for key, wnid in OFFICIAL.items():
        if counts.get(wnid):
            counts[wnid] -= 1
            selected[key] = wnid
    return selected


def renumber(wnids, per_class):
    """Label other images, named in turn as the first official ones."""
    keys = iter(OFFICIAL)
    return {next(keys): wnid for _ in range(per_class) for wnid in wnids}


def shift(labels):
    """Give each image the label of the next."""
    values = list(labels.values())
    return dict(zip(labels, [*values[1:], values[0]], strict=True))


@pytest.mark.parametrize(
    "labels", [OFFICIAL, select(WNIDS[:3], 1), {}, {"a": "n01440764"}], ids=len
)
def test_official_labels_raise_no_doubt(labels):
    assert check(labels) == ([], [])


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        (OFFICIAL, 1000),
        (select(WNIDS, 2), 1000),
        (select(WNIDS[7:10]), 3),
        (select(WNIDS[7:11], 4), 4),
    ],
    ids=["all", "two of each", "three classes", "four of each"],
)
def test_labels_in_another_order_are_refused(labels, num_classes):
    permuted = {key: PERMUTED[wnid] for key, wnid in labels.items()}
    (warnings, (problem,)) = check(permuted)
    assert warnings == []
    assert f"in {num_classes} classes all images have the label of another" in problem
    assert "ILSVRC2012_ID" in problem


def test_two_exchanged_folders_of_a_thousand_are_refused_with_both_names():
    swap = {WNIDS[0]: WNIDS[1], WNIDS[1]: WNIDS[0]}
    (_, (problem,)) = check({k: swap.get(w, w) for k, w in OFFICIAL.items()})
    assert "100 of 50,000, 0.2% (" in problem
    assert "n01440764 (tench) is labelled n01443537 (goldfish)" in problem


def test_a_few_other_labels_are_a_warning_with_the_share():
    corrected = dict(OFFICIAL)
    for key in list(OFFICIAL)[:500]:
        corrected[key] = PERMUTED[corrected[key]]
    ((warning,), problems) = check(corrected)
    assert problems == []
    assert "not the official one: 500 of 50,000, 1.0% (ILSVRC2012_val_00000001 is " in (
        warning.text
    )
    assert warning.text.endswith(
        "officially n02105855); the label of the input is used"
    )


@pytest.mark.parametrize(
    "labels", [OFFICIAL, select(WNIDS[:20], 50), select(WNIDS[:5], 10)], ids=len
)
def test_labels_that_belong_to_other_images_are_refused(labels):
    (_, (problem,)) = check(shift(labels))
    assert f"of {len(labels):,}, " in problem
    assert "their labels are mixed up" in problem


@pytest.mark.parametrize(
    ("num_classes", "per_class"),
    [(101, 50), (200, 50), (20, 20), (6, 5), (1, 50), (10, 1000), (1000, 10), (2, 2)],
)
def test_other_images_under_official_names_are_a_warning(num_classes, per_class):
    """Tiny ImageNet, renumbered, and the demonstration."""
    labels = renumber(WNIDS[500:] + WNIDS[:500], 1)
    labels = renumber(list(labels.values())[:num_classes], per_class)
    ((warning,), problems) = check(labels)
    assert problems == []
    assert f" of {num_classes * per_class:,}, " in warning.text
    assert "these are other images under official names, or wrong" in warning.text


def test_merged_classes_are_a_warning():
    """As where both of ImageNet's cranes are one class."""
    merged = {WNIDS[517]: WNIDS[134]}
    ((warning,), problems) = check({k: merged.get(w, w) for k, w in OFFICIAL.items()})
    assert problems == []
    assert "50 of 50,000, 0.1%" in warning.text


def check_numbers(numbers, *, confirmed=(), official=None, is_apart=False):
    """Judge numbers, and what confirms them in the same part or another split."""
    found = NumberLabels(frozenset(numbers), 5000)
    pairs = agreement.compare_with_official([
        ImageRef(k, w, "", 0, "", ByteRange(0, 0)) for k, w in (official or {}).items()
    ])
    if is_apart:
        named = NumberLabels(frozenset(), 0, frozenset(confirmed))
        return agreement.check([
            PartLabels(numbers=found, shards="validation"),
            PartLabels(official=pairs, numbers=named, shards="train"),
        ])
    found = found._replace(confirmed=frozenset(confirmed))
    return agreement.check([PartLabels(official=pairs, numbers=found)])


@pytest.mark.parametrize(
    "numbers",
    [
        range(10),
        range(100),
        range(200),
        range(990),
        [0],
        [0, 1],
        [3, 7, 8],
        range(1, 11),
    ],
    ids=str,
)
def test_numbers_of_a_subset_are_refused(numbers):
    (warnings, (problem,)) = check_numbers(numbers)
    assert warnings == []
    assert f"5,000 images are given by numbers alone, {min(numbers)} to " in problem
    assert "give their classes with --class_list" in problem


@pytest.mark.parametrize("last", [100, 999])
def test_numbers_that_count_from_one_are_told(last):
    (_, (problem,)) = check_numbers(range(1, last + 1))
    assert "- in line 1, for label 0" in problem


@pytest.mark.parametrize(
    "numbers",
    [range(1000), range(998, 1000), random.Random(1).sample(range(1000), 600), [999]],
    ids=["all", "last shard", "one shard", "one class"],
)
def test_numbers_that_fit_the_thousand_are_a_warning(numbers):
    ((warning,), problems) = check_numbers(numbers)
    assert problems == []
    assert "taken for the 1000 classes in the order of their wnids" in warning.text


def test_names_and_official_labels_confirm_numbers():
    assert check_numbers(range(10), confirmed=range(5)) == ([], [])
    assert check_numbers(range(3), confirmed=range(3)) == ([], [])
    assert check_numbers(range(10), official=select(WNIDS[:10], 5)) == ([], [])
    other = renumber(WNIDS[:10], 6)
    (_, problems) = check_numbers(range(10), official=other)
    assert "given by numbers alone" in problems[0]


@pytest.mark.parametrize("confirmed", [[0], range(4)], ids=len)
def test_few_confirmed_numbers_confirm_no_others(confirmed):
    (_, (problem,)) = check_numbers(range(10), confirmed=confirmed)
    assert "given by numbers alone, 0 to 9 (10 different)" in problem


def test_another_split_confirms_only_the_same_numbers():
    assert check_numbers(range(10), confirmed=range(10), is_apart=True) == ([], [])
    for options in ({"confirmed": range(1000)}, {"official": select(WNIDS[:10], 5)}):
        (_, (problem,)) = check_numbers(range(10), **options, is_apart=True)
        assert "given by numbers alone" in problem


def test_numbers_of_a_subset_do_not_hide_among_those_of_another_set():
    parts = [
        PartLabels(numbers=NumberLabels(frozenset(range(num)), num), shards=str(num))
        for num in (10, 1000)
    ]
    ((warning,), (problem,)) = agreement.check(parts)
    assert "1,000 images are given by numbers alone, 0 to 999" in warning.text
    assert "10 images are given by numbers alone, 0 to 9 (" in problem
