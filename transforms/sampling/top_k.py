"""Keep the first k images of each stratum by order, as positions in the index.

The order of an image is an integer sort key, from the sampler or a hash. An image is
represented by four integers (32 bytes), so 1.28 million images are ranked in seconds
and only selected images are read as rows. Images with equal orders, which hashes make
very rare, are sorted by their position.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.arrays import IntArray

MERGE_SIZE = 16  # row groups that are merged at once
Positions = Mapping[int, npt.NDArray[np.integer]]  # row group → rows, ascending
LimitOf = Callable[[int], int]  # stratum → number of images to keep


class TopK(NamedTuple):
    """The first images of each stratum by order, and the sizes of the strata.

    Attributes:
      images: shape (images, 4), with the columns stratum, order, row group and row,
        sorted by these columns.
      counts: number of all images of each stratum, including those not kept.
      row_groups: numbers of the row groups that were ranked, ascending.
    """

    images: IntArray
    counts: Mapping[int, int]
    row_groups: tuple[int, ...]

    @property
    def strata(self) -> IntArray:
        """The stratum of each kept image, shape (images,)."""
        return self.images[:, 0]

    @property
    def orders(self) -> IntArray:
        """The sort key of each kept image, shape (images,); the smallest were kept."""
        return self.images[:, 1]


def rank(
    strata: IntArray,
    orders: IntArray,
    *,
    row_group: int,
    rows: npt.NDArray[np.integer],
    limit_of: LimitOf,
) -> TopK:
    """Rank the images of one row group and keep the first of each stratum.

    Args:
      strata: the stratum of each image, shape (images,).
      orders: the order of each image, shape (images,).
      row_group: number of the row group of the index.
      rows: the row of each image in the row group's table, shape (images,).
      limit_of: returns the number of images to keep in a stratum.
    """
    numbers, counts = np.unique(strata, return_counts=True)
    images = np.stack([strata, orders, np.full_like(orders, row_group), rows], axis=1)
    count_of = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    return TopK(_keep(images, limit_of), count_of, (row_group,))


def rank_none(row_group: int) -> TopK:
    """Return the result of `rank` for a row group without images to rank."""
    return TopK(np.empty((0, 4), np.int64), {}, (row_group,))


def merge(parts: Sequence[TopK], limit_of: LimitOf) -> TopK:
    """Merge ranked images; the result does not depend on the sequence of `parts`.

    Args:
      parts: results of `rank` or `merge` on disjoint images.
      limit_of: returns the number of images to keep in a stratum.
    """
    counts: Counter[int] = Counter()
    for part in parts:
        counts.update(part.counts)
    empty = np.empty((0, 4), np.int64)
    images = np.concatenate([empty, *(part.images for part in parts)])
    row_groups = sorted(number for part in parts for number in part.row_groups)
    return TopK(_keep(images, limit_of), counts, tuple(row_groups))


def merge_all(parts: Iterable[TopK], limit_of: LimitOf) -> TopK:
    """Merge any number of parts as `merge` does, 16 at a time."""
    merged: list[TopK] = []
    for part in parts:
        merged.append(part)
        if len(merged) >= MERGE_SIZE:
            merged = [merge(merged, limit_of)]
    return merge(merged, limit_of)


def _keep(images: IntArray, limit_of: LimitOf) -> IntArray:
    """Sort images by stratum and order; drop those beyond the limit of a stratum."""
    images = images[np.lexsort(images.T[::-1])]
    strata, starts = np.unique(images[:, 0], return_index=True)
    limits = np.array([limit_of(stratum) for stratum in strata.tolist()], np.int64)
    sizes = np.diff(np.append(starts, len(images)))
    rank_in_stratum = np.arange(len(images)) - np.repeat(starts, sizes)
    kept: IntArray = images[rank_in_stratum < np.repeat(limits, sizes)]
    return kept


def find_positions(ranked: TopK) -> Positions:
    """Return the row numbers of the kept images, ascending, by row group."""
    positions = ranked.images[:, 2:]
    positions = positions[np.lexsort(positions.T[::-1])]
    row_groups, starts = np.unique(positions[:, 0], return_index=True)
    rows = np.split(positions[:, 1], starts[1:])
    return dict(zip(row_groups.tolist(), rows, strict=False))
