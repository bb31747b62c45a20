from transforms.grouping.table import GroupSizes, describe_sizes, measure_sizes


def test_effective_groups_are_fewer_for_unequal_sizes():
    assert describe_sizes([5, 5, 5, 5])["effective_num_groups"] == 4
    assert describe_sizes([1, 2, 7]) == {
        "sizes": {"min": 1, "median": 2, "max": 7},
        "effective_num_groups": 1.852,
    }


def test_uneven_groups_count_as_fewer():
    assert measure_sizes([1, 2, 7, 2]) == GroupSizes(
        num_groups=4,
        num_classes=12,
        smallest=1,
        median=2,
        largest=7,
        effective_groups=144 / (1 + 4 + 49 + 4),
    )
