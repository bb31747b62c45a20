"""An index → its rows in the order of their keys, some at a time.

Sorting 14 million rows at once would take 2 GB. Here a first look at each row group
notes its first and last key, and a sample; then the rows between one sampled key and
another are read, of the row groups alone that can hold them. Archives are listed class
by class, so that each row group is read about twice; rows in a random order take a
reading of the whole index, from its bucket too, for each half million of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

_ROWS_AT_ONCE = 1 << 19
_SAMPLED_EACH = 1 << 8


@dataclass
class KeyOrder:
    """What is known of the keys of each row group.

    Attributes:
      rows_at_once: about how many rows are held.
      bounds: (row group, first key, last key); none of row groups without rows.
      sample: every 256th key, in no order.
    """

    rows_at_once: int = _ROWS_AT_ONCE
    bounds: list[tuple[int, str, str]] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)

    def look(self, row_group: int, keys: pa.ChunkedArray) -> None:
        """Note what a row group holds."""
        if len(keys):
            ends = pc.min_max(keys).as_py()
            self.bounds.append((row_group, ends["min"], ends["max"]))
            every = pa.array(range(0, len(keys), _SAMPLED_EACH))
            self.sample += keys.take(every).to_pylist()

    def read(self, read: Callable[[int], pa.Table]) -> Iterator[pa.Table]:
        """Yield all rows in the order of their keys; equal keys come together.

        Args:
          read: row group → its rows, with a column `key`, as they were looked at.
        """
        step = max(self.rows_at_once // _SAMPLED_EACH, 1)
        starts = sorted(set(sorted(self.sample)[step::step]))
        for start, end in zip(["", *starts], [*starts, None], strict=True):
            parts = [
                _take(read(row_group), start, end)
                for row_group, first, last in self.bounds
                if last >= start and (end is None or first < end)
            ]
            if parts:
                rows = pa.concat_tables(parts).combine_chunks()
                yield rows.take(pc.sort_indices(rows["key"]))


def _take(rows: pa.Table, start: str, end: str | None) -> pa.Table:
    """Take the rows from one key on, up to another."""
    is_wanted = pc.greater_equal(rows["key"], start)
    if end is not None:
        is_wanted = pc.and_(is_wanted, pc.less(rows["key"], end))
    return rows.filter(is_wanted)
