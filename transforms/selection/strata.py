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

from transforms import seeds
from transforms.records import ImageRef
from transforms.selection import arrangement
from transforms.selection.arrangement import NEVER
from transforms.tables import index_table

Ranked = tuple[int, str]  # (order, key): a total order, since keys are unique
EVERYWHERE = -1


class Stratum(NamedTuple):
    """Images that are interchangeable for the sampler."""

    label: int  # `EVERYWHERE` where the whole set is one scope
    wnid: str  # "" unless stratified by class
    part: int  # the sampler's own

    def __str__(self) -> str:
        return f"{self.label}|{self.wnid}|{self.part}"


class RankedRef(NamedTuple):
    """An image with its place in an order; compares by (order, key)."""

    order: int
    key: str
    ref: ImageRef
    part: int = 0


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

    def read(self, index: str, row_group: int, *, split: str) -> pa.Table:
        """Read one split's images of the grouped classes from a row group.

        Training images come with what the sampler says of them, as columns.
        """
        wnids = sorted(self.label_of)
        table = index_table.read_row_group(index, row_group, split=split, wnids=wnids)
        if self.arrangement is None or split != "train":
            return table
        return arrangement.join_part(table, self.arrangement, row_group)

    def labels(self, table: pa.Table) -> list[int]:
        """Return each image's label."""
        return [self.label_of[wnid] for wnid in table["wnid"].to_pylist()]

    def stratum(self, wnid: str, part: int) -> Stratum:
        """Return the stratum of an image of this class and part."""
        label = EVERYWHERE if self.scope == "set" else self.label_of[wnid]
        return Stratum(label, wnid if self.stratify_by_class else "", part)

    def strata(self, table: pa.Table) -> list[Stratum]:
        """Return each image's stratum."""
        pairs = list(zip(table["wnid"].to_pylist(), _parts(table), strict=True))
        made = {pair: self.stratum(*pair) for pair in set(pairs)}
        return [made[pair] for pair in pairs]


def _parts(table: pa.Table) -> list[int]:
    if "part" not in table.column_names:
        return [0] * table.num_rows
    return table["part"].to_pylist()


def count(table: pa.Table, plan: SamplePlan) -> Counter[Stratum]:
    """Count the images of each stratum that may be chosen."""
    counts = Counter(plan.strata(table))
    return Counter({s: count for s, count in counts.items() if s.part != NEVER})


def count_set_aside(ranked: Sequence[RankedRef], plan: SamplePlan) -> Counter[Stratum]:
    """Count the images that serve as validation against their strata."""
    strata = (plan.stratum(image.ref.wnid, image.part) for image in ranked)
    return Counter(stratum for stratum in strata if stratum.part != NEVER)


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
    chosen = table.take(pa.array(kept, pa.int64()))
    rows = zip(kept, index_table.to_refs(chosen), _parts(chosen), strict=True)
    return [
        (places[position], RankedRef(int(orders[position]), ref.key, ref, part))
        for position, ref, part in rows
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
    if "order" in table.column_names:
        orders = table["order"].to_numpy()
    else:
        orders = seeds.orders(plan.seed, "sample", table["key"].to_pylist())
    strata = plan.strata(table)
    return first_by_hash(table, strata, lambda stratum: taken.get(stratum, 0), orders)
