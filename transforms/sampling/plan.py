"""Define the input and output of a sampler, and the plan of a sampling run.

A sampler runs once in the launcher. Most samplers read all training images of the
groups and assign two integers to each image: the part, e.g. a bin of difficulty, and
the order, a sort key. The selection then counts the images of each part and selects
those with the smallest orders. A sampler with a fixed selection instead reads all
usable images and assigns a split to each selected one.
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

from transforms import seeds, storage
from transforms.arrays import IntArray, IntegerArray
from transforms.index import table as index_table
from transforms.records import UsageError

SCOPES = ("group", "set")
NEVER = -1  # part of images that must not be selected
EVERYWHERE = -1  # label of a stratum that covers all groups
_PART_BITS = 16
_SCHEMA = pa.schema([("part", pa.int16()), ("order", pa.int64())])


class MissingScoresError(UsageError):
    """Raised when a sampler needs scores that some or all images lack."""


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """The input of a sampler.

    Attributes:
      read_images: returns the columns key and label of all usable training images of
        the groups, in the order of the index; for a sampler with a fixed selection, the
        columns key, wnid and split of all usable images. It is a function, so samplers
        that need no images do not read them.
      seed: seed of the hashes.
      difficulty_file: path of the table of difficulty; None if it is not given.
      images_file: path of the list of images; None if it is not given.
    """

    read_images: Callable[[], pa.Table]
    seed: int
    difficulty_file: str | None = None
    images_file: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SamplerOutput:
    """The part and the order of every image, as returned by a sampler.

    Attributes:
      parts: shape (images,), as in `SamplingRequest.read_images`. The quota of a group
        is split equally among its parts, as far as they have enough images; images of
        part `NEVER` are not selected.
      orders: shape (images,), integers ≥ 0; the images with the smallest values in a
        part are selected first. None orders images by hash.
      scope: "group": each group has its own quota; "set": the whole set has one quota,
        so group sizes differ.
      notes: messages for the user.
    """

    parts: IntegerArray
    orders: IntegerArray | None = None
    scope: str = "group"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedSelection:
    """The split of every image, as returned by a sampler that selects images itself.

    Attributes:
      splits: split in the subset of each image of `SamplingRequest.read_images`, "" if
        it is not selected: train, fold_a, fold_b or validation; shape (images,).
      adds_validation: whether the validation images of all classes that have selected
        images are selected too.
      missing: names of requested images that the input lacks.
      notes: messages for the user.
    """

    splits: pa.Array
    adds_validation: bool = False
    missing: Sequence[str] = ()
    notes: tuple[str, ...] = ()


def write_splits(splits: pa.Array, sizes: Sequence[int], folder: str) -> None:
    """Write a fixed selection, one file per row group of the index.

    Args:
      splits: split of each usable image, "" if it is not selected.
      sizes: number of usable images of each row group.
      folder: folder to write to.
    """
    _write_slices(pa.table({"subset_split": splits}), sizes, folder)


def write_parts(output: SamplerOutput, sizes: Sequence[int], folder: str) -> None:
    """Write the output of a sampler, as one Parquet file per row group of the index.

    Args:
      output: parts and orders of all images.
      sizes: number of these images in each row group of the index.
      folder: the folder to write to; created if missing.
    """
    columns = {"part": pa.array(output.parts, pa.int16())}
    if output.orders is not None:
        columns["order"] = pa.array(output.orders, pa.int64())
    schema = pa.schema([_SCHEMA.field(name) for name in columns])
    _write_slices(pa.table(columns, schema=schema), sizes, folder)


def _write_slices(table: pa.Table, sizes: Sequence[int], folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    start = 0
    for number, size in enumerate(sizes):
        pq.write_table(table.slice(start, size), _part_path(folder, number))
        start += size


def join_part(images: pa.Table, folder: str, row_group: int) -> pa.Table:
    """Append the sampler's columns (part, and order if any) to a row group's images."""
    columns = storage.read_parquet(_part_path(folder, row_group))
    for name in columns.column_names:
        images = images.append_column(name, columns[name])
    return images


def _part_path(folder: str, row_group: int) -> str:
    return f"{folder}/{row_group:07d}.parquet"


class Stratum(NamedTuple):
    """The label, class and part of images that share a quota."""

    label: int  # `EVERYWHERE` if the scope is the whole set
    wnid: str  # "" unless stratified by class
    part: int  # assigned by the sampler

    def __str__(self) -> str:
        return f"{self.label}|{self.wnid}|{self.part}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """The settings that determine which images of an index are selected.

    Attributes:
      label_of: label of each class, by wnid.
      top_ups: number of training images that each group holds out for validation, by
        label.
      images_per_group: M; None selects all images.
      stratify_by_class: whether the quota of a group is split among its classes.
      num_folds: 2 splits the training images into folds A and B; 1 does not.
      seed: seed of the hashes.
      scope: "group": M per group; "set": N × M for the whole set.
      arrangement: folder of the sampler's output (`write_parts`); None selects by hash
        alone.
      is_fixed: whether the sampler states the split of every image (`write_splits`).
    """

    label_of: Mapping[str, int]
    top_ups: Mapping[int, int]
    images_per_group: int | None
    stratify_by_class: bool
    num_folds: int
    seed: int
    scope: str = "group"
    arrangement: str | None = None
    is_fixed: bool = False

    @property
    def num_groups(self) -> int:
        """The number of groups, N."""
        return len(set(self.label_of.values()))

    @functools.cached_property
    def wnids(self) -> list[str]:
        """The wnids of the classes that are in a group, ascending."""
        return sorted(self.label_of)

    @property
    def max_of_a_stratum(self) -> int:
        """The most images sampled from one stratum; 0 if all images are selected."""
        images = self.images_per_group or 0
        return images * (self.num_groups if self.scope == "set" else 1)

    def max_of(self, stratum: int) -> int:
        """Return `max_of_a_stratum`, as a limit of ranked images."""
        del stratum
        return self.max_of_a_stratum

    def top_up(self, label: int) -> int:
        """Return how many training images a group holds out for validation."""
        return self.top_ups.get(label, 0)

    def read(self, index: str, row_group: int, *, split: str) -> pa.Table:
        """Read the usable images of a row group that belong to a split and to a group.

        If a sampler arranged the images, training images also have its columns.
        """
        table = index_table.read_row_group(
            index, row_group, split=split, wnids=self.wnids
        )
        if self.arrangement is None or split != "train":
            return table
        return join_part(table, self.arrangement, row_group)

    def labels(self, table: pa.Table) -> IntArray:
        """Return the label of each image, shape (images,)."""
        label_of = np.array([self.label_of[wnid] for wnid in self.wnids], np.int64)
        return label_of[self._class_positions(table)]

    def _class_positions(self, table: pa.Table) -> npt.NDArray[np.integer]:
        wnids = pa.array(self.wnids, pa.string())
        return pc.index_in(table["wnid"], value_set=wnids).to_numpy()

    def parts(self, table: pa.Table) -> npt.NDArray[np.integer]:
        """Return the part of each training image, shape (images,).

        It is 0 for all images if no sampler arranged them.
        """
        if "part" not in table.column_names:
            return np.zeros(table.num_rows, np.int16)
        return table["part"].to_numpy()

    def orders(self, table: pa.Table) -> IntArray:
        """Return the sort key of each training image, shape (images,).

        This is the sampler's `order` if there is one, otherwise a hash. Images with
        smaller keys are selected first.
        """
        if "order" in table.column_names:
            return table["order"].to_numpy()
        return seeds.orders(self.seed, "sample", table["key"].to_pylist())

    def strata(self, table: pa.Table) -> IntArray:
        """Return the stratum number of each training image, shape (images,)."""
        if self.stratify_by_class:
            prefixes = self._class_positions(table).astype(np.int64)
        elif self.scope == "set":
            prefixes = np.zeros(table.num_rows, np.int64)
        else:
            prefixes = self.labels(table)
        return (prefixes << _PART_BITS) | self.parts(table)

    def name_stratum(self, number: int) -> Stratum:
        """Return the stratum that a number from `strata` identifies."""
        prefix, part = number >> _PART_BITS, number & ((1 << _PART_BITS) - 1)
        wnid = self.wnids[prefix] if self.stratify_by_class else ""
        if self.scope == "set":
            return Stratum(EVERYWHERE, wnid, part)
        return Stratum(self.label_of[wnid] if wnid else prefix, wnid, part)
