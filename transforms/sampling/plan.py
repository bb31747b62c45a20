"""What a sampler decides of every image ↔ files beside the index, a row group each.

A sampler is plain arithmetic over all training images of the groups, done once at
launch: it gives each image a part and a place in its part's order. Which images this
takes in the end needs counts and the first of each part, which is Beam's work.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import seeds
from transforms.arrays import IntArray, IntegerArray
from transforms.index import table as index_table
from transforms.records import UsageError

SCOPES = ("group", "set")
NEVER = -1  # the part of images that are not to be chosen
_SCHEMA = pa.schema([("part", pa.int16()), ("order", pa.int64())])


class MissingScoresError(UsageError):
    """A sampler needs scores that were not given, or not of all images."""


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """What a sampler is asked for."""

    # All usable training images of the groups: key and label, in the index's order. A
    # call, since a sampler that goes by hash alone need not see them.
    read_images: Callable[[], pa.Table]
    seed: int
    difficulty_file: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SamplerOutput:
    """A part and an order for every image, in the order of the request's images.

    Attributes:
      parts: shape (images,). Equally many images are taken from each part, as far as
        they have them; of part `NEVER` none.
      orders: shape (images,), from 0: inside a part the smallest come first; None: by
        hash.
      scope: whether the parts share out each group's images, or those of the whole
        set, whose groups then differ in size.
      notes: what the user must know.
    """

    parts: IntegerArray
    orders: IntegerArray | None = None
    scope: str = "group"
    notes: tuple[str, ...] = ()


def write_parts(arrangement: SamplerOutput, sizes: Sequence[int], folder: str) -> None:
    """Write what belongs to each row group of the index.

    Args:
      arrangement: of all images.
      sizes: how many of them each row group holds.
      folder: where; made if it is not there.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    start = 0
    for number, size in enumerate(sizes):
        part = slice(start, start + size)
        columns = {"part": pa.array(arrangement.parts[part], pa.int16())}
        schema = _SCHEMA
        if arrangement.orders is None:
            schema = pa.schema([_SCHEMA.field("part")])
        else:
            columns["order"] = pa.array(arrangement.orders[part], pa.int64())
        table = pa.table(columns, schema=schema)
        pq.write_table(table, _part_path(folder, number))
        start += size


def join_part(images: pa.Table, folder: str, row_group: int) -> pa.Table:
    """Append the arrangement of a row group's images to them, as columns."""
    found = pq.read_table(_part_path(folder, row_group))
    for name in found.column_names:
        images = images.append_column(name, found[name])
    return images


def _part_path(folder: str, row_group: int) -> str:
    return f"{folder}/{row_group:07d}.parquet"


EVERYWHERE = -1
_PART_BITS = 16


class Stratum(NamedTuple):
    """Images that are interchangeable for the sampler."""

    label: int  # `EVERYWHERE` where the whole set is one scope
    wnid: str  # "" unless stratified by class
    part: int  # the sampler's own

    def __str__(self) -> str:
        return f"{self.label}|{self.wnid}|{self.part}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """All that decides which images are chosen."""

    label_of: Mapping[str, int]  # wnid → label
    top_ups: Mapping[int, int]  # label → training images that serve as validation
    images_per_group: int | None  # None: all
    stratify_by_class: bool
    num_folds: int
    seed: int
    scope: str = "group"  # what M, or N × M, is shared out over
    arrangement: str | None = None  # folder of the sampler's; None: by hash alone

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return len(set(self.label_of.values()))

    @functools.cached_property
    def wnids(self) -> list[str]:
        """The classes that are in groups, in order."""
        return sorted(self.label_of)

    @property
    def most_of_a_stratum(self) -> int:
        """What no stratum gives more than."""
        images = self.images_per_group or 0
        return images * (self.num_groups if self.scope == "set" else 1)

    def top_up(self, label: int) -> int:
        """Return how many training images of a group serve as validation."""
        return self.top_ups.get(label, 0)

    def read(self, index: str, row_group: int, *, split: str) -> pa.Table:
        """Read one split's images of the grouped classes from a row group.

        Training images come with what the sampler says of them, as columns.
        """
        table = index_table.read_row_group(
            index, row_group, split=split, wnids=self.wnids
        )
        if self.arrangement is None or split != "train":
            return table
        return join_part(table, self.arrangement, row_group)

    def labels(self, table: pa.Table) -> IntArray:
        """Return each image's label, shape (images,)."""
        label_of = np.array([self.label_of[wnid] for wnid in self.wnids], np.int64)
        return label_of[self._class_positions(table)]

    def _class_positions(self, table: pa.Table) -> npt.NDArray[np.integer]:
        found = pc.index_in(table["wnid"], value_set=pa.array(self.wnids, pa.string()))
        return found.to_numpy()

    def parts(self, table: pa.Table) -> npt.NDArray[np.integer]:
        """Return the sampler's part of each training image, shape (images,)."""
        if "part" not in table.column_names:
            return np.zeros(table.num_rows, np.int16)
        return table["part"].to_numpy()

    def orders(self, table: pa.Table) -> IntArray:
        """Return each training image's place in the order of its stratum."""
        if "order" in table.column_names:
            return table["order"].to_numpy()
        return seeds.orders(self.seed, "sample", table["key"].to_pylist())

    def strata(self, table: pa.Table) -> IntArray:
        """Return the stratum of each training image as a number, shape (images,)."""
        if self.stratify_by_class:
            coarse = self._class_positions(table).astype(np.int64)
        elif self.scope == "set":
            coarse = np.zeros(table.num_rows, np.int64)
        else:
            coarse = self.labels(table)
        return (coarse << _PART_BITS) | self.parts(table)

    def name_stratum(self, number: int) -> Stratum:
        """Return what a stratum's number stands for."""
        coarse, part = number >> _PART_BITS, number & ((1 << _PART_BITS) - 1)
        wnid = self.wnids[coarse] if self.stratify_by_class else ""
        if self.scope == "set":
            return Stratum(EVERYWHERE, wnid, part)
        return Stratum(self.label_of[wnid] if wnid else coarse, wnid, part)
