"""Validate an index, count its images by class and split, and fingerprint it.

The fingerprint requires the rows in key order, but sorting 14 million rows at once
takes 2 GB of memory. The first pass therefore records the first key, the last key and a
sample of keys of every row group. The second pass reads one range of keys at a time,
only from the row groups that overlap the range. Archives are sorted by class, so each
row group is read about twice in the second pass. An index in random order is read
completely for each half million rows.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.index import completeness
from transforms.index import table as index_table
from transforms.index.completeness import ClassSplit
from transforms.input_warnings import InputWarning
from transforms.records import UsageError, describe_count, list_names

_SORTED_ROWS = 1 << 19  # rows in memory
_SAMPLING_INTERVAL = 1 << 8
_NUM_REPEATED_SHOWN = 5
_PARQUET_IMAGE_BYTES = 110_000  # mean of ImageNet; Parquet rows have no length
_COUNTS = pa.schema([
    ("wnid", pa.string()),
    ("split", pa.string()),
    ("is_good", pa.bool_()),
    ("images", pa.int64()),
    ("bytes", pa.int64()),
])


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The counts, fingerprint and metadata of an index.

    The fingerprint is a hash of the rows of usable images in key order. Images in
    Parquet files, whose sizes the index does not contain, count as 110 kB each.

    `warnings` lists the differences from ImageNet's counts, then the warnings that the
    index contains.
    """

    num_images: Mapping[ClassSplit, int]  # usable images
    num_bytes: Mapping[ClassSplit, int]
    num_bad: Mapping[ClassSplit, int]  # unusable images that inspection found
    fingerprint: str
    roots: tuple[str, ...]
    versions: Mapping[str, str]  # of archives, by path
    num_row_groups: int
    num_strays: int  # files that are not images
    first_strays: Sequence[str]  # descriptions of the first of them
    warnings: tuple[InputWarning, ...] = ()

    def check_complete(self) -> None:
        """Check that the input is the complete ImageNet.

        Raises:
          UsageError: images or splits are missing; one line per problem.
        """
        completeness.check_complete(self.warnings, self._num_found)

    def check_usable(self) -> None:
        """Check that the input has usable images.

        Raises:
          UsageError: there are none.
        """
        if not self.num_images:
            raise UsageError(f"no usable images in {list_names(self.roots)}")

    def wnids(self) -> list[str]:
        """Return the sorted wnids of all classes, even those without usable images."""
        return sorted({key.wnid for key in (*self.num_images, *self.num_bad)})

    @property
    def mean_bytes(self) -> float:
        """The mean size of a usable image file in bytes; 0 if there are none."""
        num_images = sum(self.num_images.values())
        return sum(self.num_bytes.values()) / max(num_images, 1)

    def total(self, split: str) -> int:
        """Count the usable images of a split."""
        return sum(n for key, n in self.num_images.items() if key.split == split)

    @property
    def _num_found(self) -> Counter[ClassSplit]:
        """The number of images per class and split, including unusable ones."""
        return Counter(self.num_images) + Counter(self.num_bad)

    def describe(self) -> str:
        """Return the warnings and counts as lines of text."""
        lines = [f"warning: {warning.text}" for warning in self.warnings]
        lines += [
            f"{self.total('train')} training and {self.total('validation')} "
            f"validation images of {len(self.wnids())} classes"
        ]
        if bad := sum(self.num_bad.values()):
            images = describe_count(bad, "unusable image")
            lines.append(f"{images} left out (column `problem`)")
        if self.num_strays:
            first = "; ".join(self.first_strays)
            files = describe_count(self.num_strays, "non-image file")
            lines.append(f"{files} left out ({first})")
        return "\n".join(lines)


@dataclass
class KeyOrder:
    """The key ranges of row groups, with which rows are read in key order.

    Attributes:
      rows_at_once: approximate number of rows per range, which are held in memory.
      bounds: (row group, first key, last key) of each non-empty row group.
      sample: every 256th key of each row group, unsorted.
    """

    rows_at_once: int = _SORTED_ROWS
    bounds: list[tuple[int, str, str]] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)

    def look(self, row_group: int, keys: pa.ChunkedArray) -> None:
        """Record the key range and a sample of the keys of a row group.

        Args:
          row_group: number of the row group.
          keys: keys of its usable images, shape (rows,).
        """
        if len(keys):
            ends = pc.min_max(keys).as_py()
            self.bounds.append((row_group, ends["min"], ends["max"]))
            sampled = pa.array(range(0, len(keys), _SAMPLING_INTERVAL))
            self.sample += keys.take(sampled).to_pylist()

    def read(self, read: Callable[[int], pa.Table]) -> Iterator[pa.Table]:
        """Yield all rows in key order; all rows with the same key are in one table.

        Args:
          read: returns the rows of a row group; the column `key` must equal the keys
            passed to `look`.
        """
        step = max(self.rows_at_once // _SAMPLING_INTERVAL, 1)
        starts = sorted(set(sorted(self.sample)[step::step]))
        for start, end in zip(["", *starts], [*starts, None], strict=True):
            parts = [
                _select_range(read(row_group), start, end)
                for row_group, first, last in self.bounds
                if last >= start and (end is None or first < end)
            ]
            if parts:
                rows = pa.concat_tables(parts).combine_chunks()
                yield rows.take(pc.sort_indices(rows["key"]))


def _select_range(rows: pa.Table, start: str, end: str | None) -> pa.Table:
    """Select the rows with start ≤ key < end."""
    is_in_range = pc.greater_equal(rows["key"], start)
    if end is not None:
        is_in_range = pc.and_(is_in_range, pc.less(rows["key"], end))
    return rows.filter(is_in_range)


def read_inventory(path: str) -> Inventory:
    """Validate an index, count its images, and hash its rows in key order.

    Raises:
      UsageError: the file is missing or not a valid index, or has repeated keys.
    """
    described = index_table.read_description(path)
    roots = tuple(described["inputs"])
    with storage.parquet_errors(path, index_table.REMEDY):
        file = storage.open_parquet(path)
        counts, order = _scan(file, path, len(roots))
        fingerprint = _hash(order.read(functools.partial(_read_good, file)), path)
    good = counts.filter(counts["is_good"])
    bad = counts.filter(pc.invert(counts["is_good"]))
    warnings = (
        *completeness.find_differences(_sum_by_class(counts, "images")),
        *index_table.read_warnings(described),
    )
    return Inventory(
        num_images=_sum_by_class(good, "images"),
        num_bytes=_sum_by_class(good, "bytes"),
        num_bad=_sum_by_class(bad, "images"),
        fingerprint=fingerprint,
        roots=roots,
        versions=index_table.read_versions(described),
        num_row_groups=file.num_row_groups,
        num_strays=described["num_strays"],
        first_strays=described["first_strays"],
        warnings=warnings,
    )


def check_index(path: str, *, require_complete: bool = False) -> Inventory:
    """Read the inventory of a new index, and check that jobs can use the index.

    Raises:
      UsageError: the index has repeated keys or no usable images, or is not of the
        complete ImageNet although that is required.
    """
    inventory = read_inventory(path)
    if inventory.num_bad and not inventory.num_images:
        raise UsageError(
            f"no usable images in {list_names(inventory.roots)}: "
            f"{index_table.describe_inspection(path)}"
        )
    inventory.check_usable()
    if require_complete:
        inventory.check_complete()
    return inventory


def _scan(
    file: pq.ParquetFile, path: str, num_inputs: int
) -> tuple[pa.Table, KeyOrder]:
    """Validate and count every row group.

    Returns:
      A table of (wnid, split, is_good, images, bytes) with one or more rows per class
      and split, and the key ranges of the row groups.

    Raises:
      UsageError: columns are missing, or have the wrong type or invalid values.
    """
    stored = {column.name: column.type for column in file.schema_arrow}
    for column in index_table.SCHEMA:
        if column.name not in stored:
            raise UsageError(
                f"{path}: has no column {column.name}; {index_table.REMEDY}"
            )
        if stored[column.name] != column.type:
            raise UsageError(
                f"{path}: column {column.name} has type {stored[column.name]}, not "
                f"{column.type}; {index_table.REMEDY}"
            )
    counts, order, problems = [], KeyOrder(), set()
    for number in range(file.num_row_groups):
        table = _read(file, number, index_table.SCHEMA.names)
        table.validate(full=True)  # strings may be invalid UTF-8
        if invalid_columns := index_table.find_problems(table, num_inputs):
            problems.update(invalid_columns)
            continue
        counts.append(_count(table))
        order.look(number, table.filter(_is_good(table))["key"])
    if problems:
        shown = ", ".join(sorted(problems))
        raise UsageError(f"{path}: has invalid values in {shown}; {index_table.REMEDY}")
    return pa.concat_tables([_COUNTS.empty_table(), *counts]), order


def _read(file: pq.ParquetFile, row_group: int, columns: Sequence[str]) -> pa.Table:
    """Read columns of a row group and `problem`, which is "" without inspection."""
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
    """Count the images of a row group by class, split and usability."""
    is_in_parquet = pc.equal(table["encoding"], "parquet")
    sized = pa.table({
        "wnid": table["wnid"],
        "split": table["split"],
        "is_good": _is_good(table),
        "length": pc.if_else(is_in_parquet, _PARQUET_IMAGE_BYTES, table["length"]),
    })
    counted = sized.group_by(["wnid", "split", "is_good"]).aggregate([
        ("length", "count"),
        ("length", "sum"),
    ])
    return counted.rename_columns(_COUNTS.names).cast(_COUNTS)


def _sum_by_class(counts: pa.Table, name: str) -> dict[ClassSplit, int]:
    """Sum a column of counts per class and split; sort the result by both."""
    ordered = counts.sort_by([("wnid", "ascending"), ("split", "ascending")])
    totals: Counter[ClassSplit] = Counter()
    for wnid, split, count in zip(
        *(ordered[n].to_pylist() for n in ("wnid", "split", name)), strict=True
    ):
        totals[ClassSplit(wnid, split)] += count
    return dict(totals)


def _hash(ordered: Iterable[pa.Table], path: str) -> str:
    """Hash the lines `key wnid split length` in key order.

    Args:
      ordered: tables of rows in key order.
      path: path of the index, for messages.

    Returns:
      SHA-256 as a hexadecimal string.

    Raises:
      UsageError: keys are repeated.
    """
    digest = hashlib.sha256()
    num_repeated = 0
    first_repeated: list[str] = []
    for rows in ordered:
        keys = rows["key"].combine_chunks()
        is_repeated = pc.equal(keys[1:], keys[:-1])
        repeated = pc.unique(keys[1:].filter(is_repeated))
        num_repeated += len(repeated)
        first_repeated += repeated[
            : _NUM_REPEATED_SHOWN - len(first_repeated)
        ].to_pylist()
        for start in range(0, len(rows), index_table.ROW_GROUP_IMAGES):
            part = rows.slice(start, index_table.ROW_GROUP_IMAGES)
            lines = index_table.join_lines(
                *(part[name] for name in ("key", "wnid", "split", "length"))
            )
            index_table.update_digest(digest, lines)
    if num_repeated:
        raise UsageError(_describe_repeated(path, num_repeated, first_repeated))
    return digest.hexdigest()


def _describe_repeated(path: str, count: int, first: Sequence[str]) -> str:
    shown = ", ".join(first)
    places = "; ".join(index_table.find_places(path, first[0]))
    names = describe_count(count, "image name")
    verb = "is" if count == 1 else "are"
    return (
        f"{names} {verb} repeated in the input ({shown}), the first at {places}; give "
        "each image once; rename different images, e.g. with the class in front"
    )
