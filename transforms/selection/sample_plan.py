"""All that decides which images are chosen, and the place that each image has in it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import seeds
from transforms.selection import arrangement
from transforms.tables import index_table

IntArray = npt.NDArray[np.int64]

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
        return arrangement.join_part(table, self.arrangement, row_group)

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
