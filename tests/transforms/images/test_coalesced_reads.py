"""Test which images are read together; `tests/stores` reads them."""

import pytest

from transforms.images.read import PlacedRef, plan_ranges
from transforms.records import ByteRange, ImageRef, ParquetRow

MB = 1 << 20


def place(offset, length, *, uri="a.tar", root="s3://b", kind=ByteRange):
    ref = ImageRef("k", "n01440764", "train", 0, uri, kind(offset, length))
    return PlacedRef(root, ref)


def plan(*images):
    return [(s.start, s.end, list(s.images)) for s in plan_ranges(images)]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([place(0, 100), place(612, 100)], [(0, 712, [0, 1])]),
        ([place(612, 100), place(0, 100)], [(0, 712, [1, 0])]),
        ([place(0, 500), place(100, 10), place(600, 1)], [(0, 601, [0, 1, 2])]),
        ([place(0, 100), place(100 + MB, 1)], [(0, 101 + MB, [0, 1])]),
        ([place(0, 100), place(101 + MB, 1)], []),
        ([place(0, 9 * MB), place(9 * MB, 9 * MB)], []),
        ([place(0, 9), place(0, 9, uri="b.tar")], []),
        ([place(0, 9), place(9, 9, root="gs://b")], []),
        ([place(0, 9, root="/b"), place(9, 9, root="/b")], []),
        ([place(0, 0, kind=ParquetRow), place(0, 1, kind=ParquetRow)], []),
        ([], []),
    ],
    ids=[
        *("near", "any order", "overlapping", "gap", "too far", "too large"),
        *("other file", "other bucket", "local", "rows", "none"),
    ],
)
def test_neighbours_are_read_together(images, expected):
    assert plan(*images) == expected


def test_no_read_is_larger_than_its_bound():
    images = [place(n * 110_000, 110_000) for n in range(500)]
    spans = plan(*images)
    assert len(spans) == 4
    assert max(end - start for start, end, _ in spans) <= 16 * MB
    assert [n for *_, numbers in spans for n in numbers] == list(range(500))
