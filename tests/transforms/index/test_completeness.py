import pytest

from transforms.index.completeness import (
    ClassSplit,
    check_complete,
    find_differences,
)
from transforms.labels import classes
from transforms.records import UsageError

WNIDS = [info.wnid for info in classes.load_classes()]


def count(num_classes=1000):
    """Image counts of ImageNet: 1300 in most classes, 1,281,167 in total."""
    counts = {}
    excess = 1000 * 1300 - 1_281_167
    for wnid in WNIDS[:num_classes]:
        fewer = min(excess, 1300 - 732)
        excess -= fewer
        counts[ClassSplit(wnid, "train")] = 1300 - fewer
        counts[ClassSplit(wnid, "validation")] = 50
    return counts


def describe(counts):
    warnings = tuple(find_differences(counts))
    assert all(warning.is_missing for warning in warnings)
    return [warning.text for warning in warnings]


def test_imagenet_is_complete():
    assert describe(count()) == []
    check_complete((), count())


def test_one_image_fewer_is_told():
    counts = count()
    counts[ClassSplit(WNIDS[-1], "train")] -= 1
    assert describe(counts) == [
        "found 1,281,166 of ImageNet's 1,281,167 training images"
    ]


def test_class_with_too_few_images_is_named():
    counts = count()
    counts[ClassSplit("n01443537", "train")] = 10
    counts[ClassSplit("n01443537", "validation")] = 49
    train, validation = describe(counts)
    assert (
        "classes without ImageNet's 732 to 1,300 images: 1 (n01443537 has 10)" in train
    )
    assert validation == (
        "found 49,999 of ImageNet's 50,000 validation images; classes without "
        "ImageNet's 50 images: 1 (n01443537 has 49)"
    )


def test_counts_that_only_sum_up_are_not_complete():
    counts = count()
    counts[ClassSplit(WNIDS[-1], "validation")] = 49
    counts[ClassSplit(WNIDS[-2], "validation")] = 51
    assert "classes without ImageNet's 50 images: 2" in describe(counts)[0]


def test_missing_classes_are_counted_and_other_classes_ignored():
    counts = count(num_classes=100)
    counts[ClassSplit("n12345678", "train")] = 3
    texts = describe(counts)
    assert len(texts) == 2
    assert all(" (100 of its 1000 classes)" in text for text in texts)
    assert describe({ClassSplit("n12345678", "train"): 3}) == []


def test_required_completeness_lists_every_problem():
    counts = {key: n for key, n in count(999).items() if key.split == "train"}
    with pytest.raises(UsageError) as error:
        check_complete(tuple(find_differences(counts)), counts)
    assert [line[:40] for line in str(error.value).splitlines()] == [
        "--require_complete: found 1,279,867 of I",
        "--require_complete: found no validation ",
    ]
