from transforms.records import (
    cut_lines,
    describe_bytes,
    describe_count,
    list_names,
)


def test_few_names_are_listed_in_full():
    assert list_names([]) == ""
    assert list_names(iter("ab")) == "a, b"
    assert list_names(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"


def test_more_names_are_counted():
    assert list_names(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"
    assert list_names(iter("abcdef"), 2) == "a, b and 4 more"


def test_sizes_have_a_unit_that_shows_them():
    sizes = [0, 200_000, 2 * 10**8, 10**9, 6_400_000_000]
    shown = ["0.0 MB", "0.2 MB", "200.0 MB", "1.0 GB", "6.4 GB"]
    assert list(map(describe_bytes, sizes)) == shown


def test_long_lists_of_lines_are_shortened():
    assert cut_lines(iter("ab"), 2) == ["a", "b"]
    assert cut_lines("abc", 2) == ["a", "b", "and 1 more"]
    assert cut_lines("abc", 1, more="f: and {} more rows") == [
        "a",
        "f: and 2 more rows",
    ]


def test_counts_have_their_plural():
    shown = [describe_count(n, noun) for noun in ("image", "class") for n in (1, 2000)]
    assert shown == ["1 image", "2,000 images", "1 class", "2,000 classes"]
    assert describe_count(0, "image") == "0 images"
