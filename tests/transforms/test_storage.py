"""Read Parquet files."""

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms import storage

TABLE = pa.table({f"column_{n}": range(5000) for n in range(8)})


class _Watched(io.FileIO):
    threads = frozenset()

    def read(self, size=-1):
        self.threads |= {threading.get_ident()}
        return super().read(size)


# Arrow's threads abort the process at its end if they still hold a Python file.
@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.read(columns=TABLE.column_names),
        lambda file: pa.Table.from_batches(file.iter_batches()),
        lambda file: pa.concat_tables(map(file.read_row_group, range(5))),
    ],
)
def test_python_file_is_read_in_the_calling_thread(tmp_path, read):
    path = tmp_path / "file.parquet"
    pq.write_table(TABLE, path, row_group_size=1000)
    with _Watched(path) as file:
        assert read(storage.open_parquet(file)) == TABLE
        assert file.threads == {threading.get_ident()}


def test_columns_have_the_order_in_which_they_are_named(tmp_path):
    path = str(tmp_path / "column_0=5.parquet")  # no partition, as pyarrow would think
    pq.write_table(TABLE, path)
    names = ["column_3", "column_0"]
    assert storage.read_parquet(path, names) == TABLE.select(names)
    with pytest.raises(KeyError, match="column_9"):
        storage.read_parquet(path, ["column_9", "column_0"])
