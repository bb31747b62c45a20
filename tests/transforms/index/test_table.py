"""Test that locations become the columns of an index, and columns locations."""

import pickle

import pytest

from transforms.index import table as index_table
from transforms.records import ByteRange, ImageRef, ParquetRow


@pytest.mark.parametrize(
    ("location", "columns"),
    [
        (ByteRange(512, 99), (512, 99, "raw")),
        (ByteRange(30, 9, "deflate"), (30, 9, "deflate")),
        (ByteRange(65_600, 70_000, "riegeli"), (65_600, 70_000, "riegeli")),
        (ParquetRow(3, 7), (3, 7, "parquet")),
    ],
    ids=str,
)
def test_locations_are_columns(location, columns):
    ref = ImageRef("n01440764_1", "n01440764", "train", 0, "a", location)
    table = index_table.make_table([ref])
    assert tuple(table.to_pylist()[0].values()) == (*ref[:5], *columns)
    assert not index_table.find_problems(table, 1)
    (again,) = pickle.loads(pickle.dumps(index_table.to_refs(table)))
    assert again == ref
    assert type(again.location) is type(location)
