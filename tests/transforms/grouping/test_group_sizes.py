from transforms.grouping.table import describe_sizes


def test_equal_groups_count_in_full_and_unequal_ones_less():
    assert describe_sizes([5, 5, 5, 5])["effective_num_groups"] == 4
    assert describe_sizes([1, 2, 7]) == {
        "sizes": {"min": 1, "median": 2, "max": 7},
        "effective_num_groups": 1.852,
    }
