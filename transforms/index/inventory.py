"""An index → its rows in the order of their keys, some at a time.

Sorting 14 million rows at once would take 2 GB. Here a first look at each row group
notes its first and last key, and a sample; then the rows between one sampled key and
another are read, of the row groups alone that can hold them. Archives are listed class
by class, so that each row group is read about twice; rows in a random order take a
reading of the whole index, from its bucket too, for each half million of them.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.index import table as index_table
from transforms.records import UsageError

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


_REPEATED_NAMED = 5
_PARQUET_IMAGE_BYTES = 110_000  # ImageNet's mean; rows do not tell their own
_COUNTS = pa.schema([
    ("wnid", pa.string()),
    ("split", pa.string()),
    ("is_good", pa.bool_()),
    ("images", pa.int64()),
    ("bytes", pa.int64()),
])


class ClassSplit(NamedTuple):
    """Key of the inventory's counts."""

    wnid: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What an index holds, in numbers small enough for the launcher."""

    num_images: Mapping[ClassSplit, int]  # usable ones
    num_bytes: Mapping[ClassSplit, int]
    num_bad: Mapping[ClassSplit, int]  # known from inspection
    fingerprint: str
    roots: tuple[str, ...]
    versions: Mapping[str, str]  # of archives in buckets, by path
    num_row_groups: int
    num_strays: int
    first_strays: Sequence[str]

    def wnids(self) -> list[str]:
        """Return the classes in order."""
        return sorted({key.wnid for key in (*self.num_images, *self.num_bad)})

    @property
    def mean_bytes(self) -> float:
        """The mean size of an image as it lies in the input."""
        num_images = sum(self.num_images.values())
        return sum(self.num_bytes.values()) / max(num_images, 1)

    def total(self, split: str) -> int:
        """Count a split's usable images."""
        return sum(n for key, n in self.num_images.items() if key.split == split)

    def describe(self) -> str:
        """Say in a few lines what was found."""
        lines = [
            f"{self.total('train')} training and {self.total('validation')} "
            f"validation images of {len(self.wnids())} classes"
        ]
        if bad := sum(self.num_bad.values()):
            lines.append(
                f"{bad} images cannot be used and are left out (column `problem`)"
            )
        if self.num_strays:
            first = "; ".join(self.first_strays)
            lines.append(
                f"{self.num_strays} files are not images and are left out ({first})"
            )
        return "\n".join(lines)


def read_inventory(path: str) -> Inventory:
    """Read an index and count it; a row group at a time, then in the order of its keys.

    Raises: UsageError: not an index, or a key stands in it twice.
    """
    described = index_table.read_description(path)
    roots = tuple(described["inputs"])
    with storage.parquet_errors(path, index_table.REMEDY):
        file = pq.ParquetFile(storage.for_arrow(path))
        counts, order = _look_through(file, path, len(roots))
        fingerprint = _hash(order.read(functools.partial(_read_good, file)), path)
    good = counts.filter(counts["is_good"])
    bad = counts.filter(pc.invert(counts["is_good"]))
    return Inventory(
        num_images=_by_class(good, "images"),
        num_bytes=_by_class(good, "bytes"),
        num_bad=_by_class(bad, "images"),
        fingerprint=fingerprint,
        roots=roots,
        versions=index_table.read_versions(described),
        num_row_groups=file.num_row_groups,
        num_strays=described["num_strays"],
        first_strays=described["first_strays"],
    )


def _look_through(
    file: pq.ParquetFile, path: str, num_inputs: int
) -> tuple[pa.Table, KeyOrder]:
    """Look at every row group: are its values possible, how many images are there.

    Returns: rows of (wnid, split, is_good, images, bytes), of which several may be of
      one class and split; and what the order of the keys is found by.
    """
    stored = {column.name: column.type for column in file.schema_arrow}
    for column in index_table.SCHEMA:
        if column.name not in stored:
            raise UsageError(f"{path}: no column {column.name}; {index_table.REMEDY}")
        if stored[column.name] != column.type:
            raise UsageError(
                f"{path}: column {column.name} is of type {stored[column.name]}, not "
                f"{column.type}; {index_table.REMEDY}"
            )
    counts, order, problems = [], KeyOrder(), set()
    for number in range(file.num_row_groups):
        table = _read(file, number, index_table.SCHEMA.names)
        table.validate(full=True)  # texts may be no UTF-8
        if found := index_table.find_problems(table, num_inputs):
            problems.update(found)
            continue
        counts.append(_count(table))
        order.look(number, table.filter(_is_good(table))["key"])
    if problems:
        shown = ", ".join(sorted(problems))
        raise UsageError(
            f"{path}: values that cannot be in {shown}; {index_table.REMEDY}"
        )
    return pa.concat_tables([_COUNTS.empty_table(), *counts]), order


def _read(file: pq.ParquetFile, row_group: int, columns: Sequence[str]) -> pa.Table:
    """Read a row group; without inspection no image has a problem that is known."""
    if "problem" in file.schema_arrow.names:
        return file.read_row_group(row_group, columns=[*columns, "problem"])
    table = file.read_row_group(row_group, columns=list(columns))
    return table.append_column("problem", pa.repeat("", table.num_rows))


def _read_good(file: pq.ParquetFile, row_group: int) -> pa.Table:
    table = _read(file, row_group, ["key", "wnid", "split", "length"])
    return table.filter(_is_good(table)).drop_columns("problem")


def _is_good(table: pa.Table) -> pa.ChunkedArray:
    return pc.equal(table["problem"], "")


def _count(table: pa.Table) -> pa.Table:
    """Count the images of a row group by class, split, and whether they are of use."""
    is_row = pc.equal(table["encoding"], "parquet")
    sized = pa.table({
        "wnid": table["wnid"],
        "split": table["split"],
        "is_good": _is_good(table),
        "length": pc.if_else(is_row, _PARQUET_IMAGE_BYTES, table["length"]),
    })
    counted = sized.group_by(["wnid", "split", "is_good"]).aggregate([
        ("length", "count"),
        ("length", "sum"),
    ])
    return counted.rename_columns(_COUNTS.names).cast(_COUNTS)


def _by_class(counts: pa.Table, name: str) -> dict[ClassSplit, int]:
    """Add up what is counted, in the order of the classes."""
    ordered = counts.sort_by([("wnid", "ascending"), ("split", "ascending")])
    totals: Counter[ClassSplit] = Counter()
    for wnid, split, count in zip(
        *(ordered[n].to_pylist() for n in ("wnid", "split", name)), strict=True
    ):
        totals[ClassSplit(wnid, split)] += count
    return dict(totals)


def _hash(ordered: Iterable[pa.Table], path: str) -> str:
    """Hash the sorted lines `key wnid split length`.

    Raises: UsageError: keys that stand there more than once.
    """
    digest = hashlib.sha256()
    num_repeated = 0
    first_repeated: list[str] = []
    for rows in ordered:
        keys = rows["key"].combine_chunks()
        is_repeated = pc.equal(keys[1:], keys[:-1])
        repeated = pc.unique(keys[1:].filter(is_repeated))
        num_repeated += len(repeated)
        first_repeated += repeated[: _REPEATED_NAMED - len(first_repeated)].to_pylist()
        for part in rows.to_batches(max_chunksize=index_table.ROW_GROUP_IMAGES):
            lines = index_table.join_lines(
                *(part[name] for name in ("key", "wnid", "split", "length"))
            )
            digest.update("".join(lines.to_pylist()).encode())
    if num_repeated:
        raise UsageError(_describe_repeated(path, num_repeated, first_repeated))
    return digest.hexdigest()


def _describe_repeated(path: str, count: int, first: Sequence[str]) -> str:
    shown = ", ".join(first)
    places = "; ".join(index_table.find_places(path, first[0]))
    return (
        f"{count} image names stand more than once in the input ({shown}), "
        f"the first at {places}; give each image once"
    )
