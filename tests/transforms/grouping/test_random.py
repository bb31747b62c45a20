from collections import Counter

import pytest

from transforms.grouping.methods import all_classes, random_classes, random_groups
from transforms.grouping.table import GroupingRequest, TooFewClassesError, make_table
from transforms.records import ImageClass, UsageError


def _classes(num_train, num_validation=None):
    num_validation = num_validation or [50] * len(num_train)
    return tuple(
        ImageClass(f"n{number:08d}", -1, f"class {number}", *counts)
        for number, counts in enumerate(zip(num_train, num_validation, strict=True))
    )


def _request(classes, num_groups, **settings):
    defaults = {
        "seed": 0,
        "images_per_group": None,
        "min_validation_images": 0,
        "allow_small_validation": False,
        "groups_file": None,
    }
    return GroupingRequest(
        classes=classes, num_groups=num_groups, **(defaults | settings)
    )


def _draw(request):
    return random_classes.group_classes(request, random_classes.Options())


def _chosen(request):
    assignment = _draw(request).assignment
    return {int(wnid[1:]) for wnid, group in assignment.items() if group is not None}


def test_golden_random_classes():
    classes = _classes([100] * 12)
    assert _chosen(_request(classes, 4)) == {0, 2, 4, 7}
    assert _chosen(_request(classes, 5)) > {0, 2, 4, 7}
    table = make_table(classes, _draw(_request(classes, 4)).assignment)
    assert table.names == ("class 0", "class 2", "class 4", "class 7")
    assert table.folders == ("n00000000", "n00000002", "n00000004", "n00000007")


def test_golden_random_groups():
    classes = _classes([1] * 8)
    request = _request(classes, 3)
    result = random_groups.group_classes(request, random_groups.Options())
    table = make_table(classes, result.assignment, result.names)
    assert [row.group for row in table.rows] == [0, 0, 0, 1, 2, 1, 2, 2]
    assert table.names == ("group 0", "group 1", "group 2")


@pytest.mark.parametrize(
    ("num_classes", "num_groups"), [(10, 3), (12, 4), (7, 7), (9, 2)]
)
def test_random_groups_are_of_equal_size(num_classes, num_groups):
    request = _request(_classes([1] * num_classes), num_groups)
    result = random_groups.group_classes(request, random_groups.Options())
    sizes = sorted(Counter(result.assignment.values()).values(), reverse=True)
    small, num_larger = divmod(num_classes, num_groups)
    assert sizes == [small + 1] * num_larger + [small] * (num_groups - num_larger)


def test_classes_with_too_few_images_are_skipped():
    first = sorted(_chosen(_request(_classes([100] * 12), 4)))
    num_train = [100] * 12
    num_train[first[0]] = 59
    request = _request(_classes(num_train), 4, images_per_group=60)
    result = _draw(request)
    assert set(first[1:]) < _chosen(request)
    assert len(_chosen(request)) == 4
    assert result.quality == {"passed_over": [f"n{first[0]:08d}"]}
    assert result.notes == (
        f"skipped 1 class with too few images: n{first[0]:08d} (class {first[0]})",
    )


def test_without_m_a_class_needs_one_training_image():
    request = _request(_classes([0, 1, 1, 0]), 2)
    assert _chosen(request) == {1, 2}
    assert _draw(request).notes or _draw(request).quality == {"passed_over": []}
    request = _request(_classes([10, 11, 11, 10]), 2, min_validation_images=120)
    assert _chosen(request) == {1, 2}


def test_input_without_training_images_is_accepted():
    request = _request(_classes([0] * 4), 2, min_validation_images=10_000)
    assert len(_chosen(request)) == 2
    assert len(_chosen(_request(_classes([0] * 4), 2, images_per_group=1))) == 2


def test_the_top_up_counts_unless_small_validation_is_allowed():
    num_train = [100, 100, 150, 150]
    settings = {"images_per_group": 100, "min_validation_images": 200}
    assert _chosen(_request(_classes(num_train), 2, **settings)) == {2, 3}
    chosen = {
        frozenset(
            _chosen(
                _request(
                    _classes(num_train),
                    2,
                    seed=seed,
                    allow_small_validation=True,
                    **settings,
                )
            )
        )
        for seed in range(20)
    }
    assert len(chosen) > 1


def test_top_ups_are_recomputed_when_other_classes_are_drawn():
    # A draw with class 0 lacks 100 validation images; without it none is lacking.
    classes = _classes([100] + [150] * 9, [0] + [100] * 9)
    settings = {"images_per_group": 130, "min_validation_images": 200}
    for seed in range(10):
        chosen = _chosen(_request(classes, 2, seed=seed, **settings))
        assert len(chosen) == 2
        assert 0 not in chosen


def test_too_few_classes_error_has_the_eligible_number_and_largest_m():
    classes = _classes([100, 200, 300, 400])
    with pytest.raises(TooFewClassesError) as caught:
        _draw(_request(classes, 3, images_per_group=300))
    assert str(caught.value).splitlines() == [
        "--num_groups 3: only 2 of 4 classes have 300 training images",
        "--images_per_group 300: the largest that works for 3 groups is 200",
    ]
    assert _chosen(_request(classes, 3, images_per_group=200)) == {1, 2, 3}


def test_too_few_classes_error_has_the_top_up():
    classes = _classes([100, 200, 300, 400])
    settings = {"min_validation_images": 300}
    with pytest.raises(TooFewClassesError) as caught:
        _draw(_request(classes, 3, images_per_group=300, **settings))
    assert str(caught.value).splitlines() == [
        "--num_groups 3: only 1 of 4 classes have 300 training images and "
        "50 more for validation",
        "--images_per_group 300: the largest that works for 3 groups is 150",
        "--min_validation_images 300: lower it, or give --allow_small_validation, to "
        "keep more for training",
    ]
    assert _chosen(_request(classes, 3, images_per_group=150, **settings)) == {1, 2, 3}
    with pytest.raises(TooFewClassesError, match="no --images_per_group works for 3"):
        _draw(_request(classes, 3, images_per_group=9, min_validation_images=9_999))


@pytest.mark.parametrize("method", [random_classes, random_groups])
@pytest.mark.parametrize(
    ("num_groups", "message"),
    [
        (None, "--num_groups: is required"),
        (1, "--num_groups 1: must be at least 2"),
        (5, "--num_groups 5: the input holds only 4 classes; at most 4"),
    ],
)
def test_number_of_groups_is_checked(method, num_groups, message):
    with pytest.raises(UsageError, match=message):
        method.group_classes(_request(_classes([9] * 4), num_groups), method.Options())


def test_all_classes_rejects_another_number_of_groups():
    classes = _classes([0, 5, 9])
    for num_groups in (None, 3):
        request = _request(classes, num_groups)
        result = all_classes.group_classes(request, all_classes.Options())
        assert make_table(classes, result.assignment).names == (
            "class 0",
            "class 1",
            "class 2",
        )
    with pytest.raises(UsageError, match=r"--num_groups 2: .* 3 classes"):
        all_classes.group_classes(_request(classes, 2), all_classes.Options())
    with pytest.raises(TooFewClassesError, match="holds 1 class; a subset needs 2"):
        all_classes.group_classes(_request(classes[:1], None), all_classes.Options())
