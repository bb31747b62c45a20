"""What a sampler decides of every image ↔ files beside the index, a row group each.

A sampler is plain arithmetic over all training images of the groups, done once at
launch: it gives each image a part and a place in its part's order. Which images this
takes in the end needs counts and the first of each part, which is Beam's work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.records import UsageError

IntArray = npt.NDArray[np.integer]

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
class Arrangement:
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

    parts: IntArray
    orders: IntArray | None = None
    scope: str = "group"
    notes: tuple[str, ...] = ()


def write_parts(arrangement: Arrangement, sizes: Sequence[int], folder: str) -> None:
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
