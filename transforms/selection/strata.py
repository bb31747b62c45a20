"""A table of images → their strata, and the first by hash of each: a row group at once.

Doing this for 65,536 rows in NumPy, before an image becomes a record of its own, makes
the planning of 1.28 million images take seconds.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import sampling, seeds
from transforms.records import ImageRef
from transforms.tables import index_table

Ranked = tuple[int, str]  # (order, key): a total order, since keys are unique


class Stratum(NamedTuple):
    """Images that are interchangeable for the sampler."""

    label: int
    wnid: str  # "" unless stratified by class
    part: str  # the sampler's own


class RankedRef(NamedTuple):
    """An image with its place in an order; compares by (order, key)."""

    order: int
    key: str
    ref: ImageRef


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """All that decides which images are chosen."""

    label_of: Mapping[str, int]  # wnid → label
    top_ups: Mapping[int, int]  # label → training images that serve as validation
    images_per_group: int | None  # None: all
    sampler: str
    sampler_options: Any
    stratify_by_class: bool
    num_folds: int
    seed: int

    def read(self, index: str, row_group: int, *, split: str) -> pa.Table:
        """Read one split's images of the grouped classes from a row group."""
        wnids = sorted(self.label_of)
        return index_table.read_row_group(index, row_group, split=split, wnids=wnids)

    def labels(self, table: pa.Table) -> list[int]:
        """Return each image's label."""
        return [self.label_of[wnid] for wnid in table["wnid"].to_pylist()]

    def strata(self, table: pa.Table) -> list[Stratum]:
        """Return each image's stratum."""
        wnids = table["wnid"].to_pylist()
        parts = sampling.load(self.sampler).find_parts(table, self.sampler_options)
        if self.stratify_by_class:
            rows = zip(wnids, parts, strict=True)
            return [Stratum(self.label_of[wnid], wnid, part) for wnid, part in rows]
        made = {wnid: Stratum(label, "", "") for wnid, label in self.label_of.items()}
        rows = zip(wnids, parts, strict=True)
        return [
            made[wnid] if not part else made[wnid]._replace(part=part)
            for wnid, part in rows
        ]


def count(table: pa.Table, plan: SamplePlan) -> Counter[Stratum]:
    """Count the images of each stratum."""
    return Counter(plan.strata(table))


def first_by_hash(
    table: pa.Table,
    places: Sequence[Any],
    limits: Callable[[Any], int],
    orders: npt.NDArray[np.int64],
) -> list[tuple[Any, RankedRef]]:
    """Find the images that may be among the first of their place.

    Args:
      table: the images.
      places: each image's place (its stratum or label).
      limits: how many a place takes.
      orders: each image's order, shape (images,).
    Returns: For every place its `limit` first, or more where orders are equal.
    """
    names = sorted(set(places))
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.fromiter((number_of[place] for place in places), np.int64)
    sorting = np.lexsort((orders, numbers))
    starts = np.searchsorted(numbers[sorting], np.arange(len(names) + 1))
    kept: list[int] = []
    for name, start, end in zip(names, starts[:-1], starts[1:], strict=True):
        limit = min(limits(name), end - start)
        if limit:
            own = sorting[start:end]
            last = orders[own[limit - 1]]
            kept += own[: np.searchsorted(orders[own], last, side="right")].tolist()
    refs = index_table.to_refs(table.take(pa.array(kept, pa.int64())))
    return [
        (places[position], RankedRef(int(orders[position]), ref.key, ref))
        for position, ref in zip(kept, refs, strict=True)
    ]


def rank_for_validation(
    table: pa.Table, plan: SamplePlan
) -> list[tuple[int, RankedRef]]:
    """Find the images that may have to serve as validation, by label."""
    wanted = np.fromiter((plan.top_ups.get(n, 0) > 0 for n in plan.labels(table)), bool)
    table = table.filter(pa.array(wanted, pa.bool_()))
    orders = seeds.orders(plan.seed, "validation", table["key"].to_pylist())
    return first_by_hash(table, plan.labels(table), plan.top_ups.__getitem__, orders)


def drop_set_aside(
    table: pa.Table, cutoffs: Mapping[int, Ranked], plan: SamplePlan
) -> pa.Table:
    """Drop the images that serve as validation: those up to their group's cutoff."""
    if not cutoffs:
        return table
    keys = table["key"].to_pylist()
    orders = seeds.orders(plan.seed, "validation", keys).tolist()
    nothing = (-1, "")
    kept = [
        (order, key) > cutoffs.get(label, nothing)
        for order, key, label in zip(orders, keys, plan.labels(table), strict=True)
    ]
    return table.filter(pa.array(kept, pa.bool_()))


def rank_for_sample(
    table: pa.Table,
    cutoffs: Mapping[int, Ranked],
    taken: Mapping[Stratum, int],
    plan: SamplePlan,
) -> list[tuple[Stratum, RankedRef]]:
    """Find the images that may be among the first of their stratum."""
    table = drop_set_aside(table, cutoffs, plan)
    orders = seeds.orders(plan.seed, "sample", table["key"].to_pylist())
    strata = plan.strata(table)
    return first_by_hash(table, strata, lambda stratum: taken.get(stratum, 0), orders)
