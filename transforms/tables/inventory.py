"""An index → what it holds, in numbers small enough for the launcher."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import damaged_parquet, storage
from transforms.records import UsageError
from transforms.tables import index_table

_REPEATED_NAMED = 5
_PARQUET_IMAGE_BYTES = 110_000  # ImageNet's mean; rows do not tell their own


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
    """Read an index once and count it.

    Raises: UsageError: not an index, or a key stands in it twice.
    """
    described = index_table.read_description(path)
    roots = tuple(described["inputs"])
    with damaged_parquet.named(path, index_table.REMEDY):
        file = pq.ParquetFile(storage.for_arrow(path))
        table = _read_checked(file, path, len(roots))
    inspected = "problem" in table.column_names
    bad = table.slice(0, 0)
    if inspected:
        is_good = pc.equal(table["problem"], "")
        bad = table.filter(pc.invert(is_good)).drop_columns("problem")
        table = table.filter(is_good).drop_columns("problem")
    num_images, lengths = _count(table)
    fingerprint, repeated = _fingerprint(table)
    if repeated:
        raise UsageError(_describe_repeated(path, repeated))
    return Inventory(
        num_images=num_images,
        num_bytes=lengths,
        num_bad=_count(bad)[0],
        fingerprint=fingerprint,
        roots=roots,
        versions=index_table.read_versions(described),
        num_row_groups=file.num_row_groups,
        num_strays=described["num_strays"],
        first_strays=described["first_strays"],
    )


def _read_checked(file: pq.ParquetFile, path: str, num_inputs: int) -> pa.Table:
    """Read what is counted, after every row group has been looked at."""
    names = file.schema_arrow.names
    if missing := set(index_table.SCHEMA.names) - set(names):
        raise UsageError(
            f"{path}: no column {sorted(missing)[0]}; {index_table.REMEDY}"
        )
    problems = {
        problem
        for number in range(file.num_row_groups)
        for problem in index_table.find_problems(
            file.read_row_group(number, columns=index_table.SCHEMA.names), num_inputs
        )
    }
    if problems:
        shown = ", ".join(sorted(problems))
        raise UsageError(
            f"{path}: values that cannot be in {shown}; {index_table.REMEDY}"
        )
    columns = ["key", "wnid", "split", "length", "encoding"]
    table = file.read(columns=[*columns, *({"problem"} & set(names))])
    table.validate(full=True)  # texts may be no UTF-8
    return table


def _count(table: pa.Table) -> tuple[dict[ClassSplit, int], dict[ClassSplit, int]]:
    is_row = pc.equal(table["encoding"], "parquet")
    sizes = pc.if_else(is_row, _PARQUET_IMAGE_BYTES, table["length"])
    table = table.set_column(table.column_names.index("length"), "length", sizes)
    counted = table.group_by(["wnid", "split"]).aggregate([
        ("length", "count"),
        ("length", "sum"),
    ])
    rows = counted.sort_by([("wnid", "ascending"), ("split", "ascending")]).to_pylist()
    keys = [ClassSplit(row["wnid"], row["split"]) for row in rows]
    return (
        {key: row["length_count"] for key, row in zip(keys, rows, strict=True)},
        {key: row["length_sum"] for key, row in zip(keys, rows, strict=True)},
    )


def _describe_repeated(path: str, repeated: Sequence[str]) -> str:
    shown = ", ".join(repeated[:_REPEATED_NAMED])
    places = "; ".join(index_table.find_places(path, repeated[0]))
    return (
        f"{len(repeated)} image names stand more than once in the input ({shown}), "
        f"the first at {places}; give each image once"
    )


def _fingerprint(table: pa.Table) -> tuple[str, list[str]]:
    """Hash the sorted lines `key wnid split length`; also find keys that repeat."""
    keys = table["key"].combine_chunks()
    ascending = pc.sort_indices(keys)
    keys = keys.take(ascending)
    is_repeated = pc.equal(keys[1:], keys[:-1])
    repeated = pc.unique(keys[1:].filter(is_repeated)).to_pylist()
    digest = hashlib.sha256()
    for start in range(0, len(keys), index_table.ROW_GROUP_IMAGES):
        rows = table.take(ascending.slice(start, index_table.ROW_GROUP_IMAGES))
        lines = index_table.join_lines(
            rows["key"], rows["wnid"], rows["split"], rows["length"]
        )
        digest.update("".join(lines.to_pylist()).encode())
    return digest.hexdigest(), repeated
