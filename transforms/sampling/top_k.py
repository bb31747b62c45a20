"""Images by place and order → the first of each place, as positions in the index.

Only numbers are kept, 32 bytes an image, so that 1.28 million images are ranked in
seconds, and no more than the chosen are ever held as rows. Two equal orders (one pair
in 2⁶⁴/n² sets of n images) would be told apart by their position.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.arrays import IntArray

Positions = Mapping[int, npt.NDArray[np.integer]]  # row group → rows, ascending
LimitOf = Callable[[int], int]  # place → how many of it are kept


class TopK(NamedTuple):
    """The first of each place by (place, order), and how many there were.

    Attributes:
      images: shape (images, 4): place, order, row group, row; sorted by these.
      counts: place → all images, kept or not.
    """

    images: IntArray
    counts: Mapping[int, int]

    @property
    def places(self) -> IntArray:
        """Each image's place."""
        return self.images[:, 0]

    @property
    def orders(self) -> IntArray:
        """Each image's order."""
        return self.images[:, 1]


def rank(
    places: IntArray,
    orders: IntArray,
    *,
    row_group: int,
    rows: npt.NDArray[np.integer],
    limit_of: LimitOf,
) -> TopK:
    """Rank images of one row group, and keep the first of each place.

    Args:
      places: each image's place, shape (images,).
      orders: each image's order.
      row_group: where they come from.
      rows: which rows of it they are.
      limit_of: how many of a place are kept.
    """
    found, counts = np.unique(places, return_counts=True)
    images = np.stack([places, orders, np.full_like(orders, row_group), rows], axis=1)
    by_place = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return TopK(_keep(images, limit_of), by_place)


def merge(several: Sequence[TopK], limit_of: LimitOf) -> TopK:
    """Keep the first of each place of all; exact, in whatever order they come."""
    counts: Counter[int] = Counter()
    for part in several:
        counts.update(part.counts)
    nothing = np.empty((0, 4), np.int64)
    images = np.concatenate([nothing, *(part.images for part in several)])
    return TopK(_keep(images, limit_of), counts)


def _keep(images: IntArray, limit_of: LimitOf) -> IntArray:
    """Sort images, and drop those past their place's limit."""
    images = images[np.lexsort(images.T[::-1])]
    names, starts = np.unique(images[:, 0], return_index=True)
    limits = np.array([limit_of(place) for place in names.tolist()], np.int64)
    sizes = np.diff(np.append(starts, len(images)))
    rank_in_place = np.arange(len(images)) - np.repeat(starts, sizes)
    kept: IntArray = images[rank_in_place < np.repeat(limits, sizes)]
    return kept


def find_positions(ranked: TopK) -> Positions:
    """Return where the images lie that are kept."""
    places = ranked.images[:, 2:]
    places = places[np.lexsort(places.T[::-1])]
    row_groups, starts = np.unique(places[:, 0], return_index=True)
    rows = np.split(places[:, 1], starts[1:])
    return dict(zip(row_groups.tolist(), rows, strict=False))
