import itertools

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.index.inventory import KeyOrder

_KEYS = st.lists(st.lists(st.text("abc_1", max_size=3), max_size=12), max_size=5)


@settings(deadline=None)
@given(row_groups=_KEYS, rows_at_once=st.integers(1, 9000))
def test_all_rows_are_read_in_key_order(row_groups, rows_at_once):
    # Each name many times, so that a row group is sampled more than once.
    tables = [pa.table({"key": pa.array(k * 100, pa.string())}) for k in row_groups]
    order = KeyOrder(rows_at_once)
    for number, table in enumerate(tables):
        order.look(number, table["key"])
    parts = [rows["key"].to_pylist() for rows in order.read(tables.__getitem__)]
    keys_read = [key for part in parts for key in part]
    assert keys_read == sorted(key for keys in row_groups for key in keys * 100)
    for before, after in itertools.pairwise(parts):
        assert before[-1] < after[0]  # otherwise repeated keys could be missed


def test_few_rows_are_held_at_once_and_few_row_groups_read_again():
    keys = [f"n{number:06d}" for number in range(100_000)]
    tables = [
        pa.table({"key": keys[start : start + 10_000]})
        for start in range(0, len(keys), 10_000)
    ]
    order = KeyOrder(rows_at_once=25_000)
    for number, table in enumerate(tables):
        order.look(number, table["key"])
    reads = []

    def read(number):
        reads.append(number)
        return tables[number]

    sizes = [rows.num_rows for rows in order.read(read)]
    assert max(sizes) <= 26_000
    assert sum(sizes) == 100_000
    assert len(reads) <= 15
