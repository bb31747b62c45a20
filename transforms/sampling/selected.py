"""Rows of an index ↔ chosen images, as a table, before they are dealt over shards."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import seeds
from transforms.index import table as index_table

IMAGE_SCHEMA = pa.schema([("label", pa.int32()), *index_table.SCHEMA])


# Chosen images before they are dealt over shards; `split` is that of the source. Texts
# that many of them have are held once: 1.28 million images of archives weigh 80 MB.
_TEXT = pa.dictionary(pa.int32(), pa.string())
_FEW = {"wnid", "split", "uri", "encoding"}
CHOSEN = pa.schema([
    ("subset_split", _TEXT),
    *(
        field.with_type(_TEXT) if field.name in _FEW else field
        for field in IMAGE_SCHEMA
    ),
])


def make_chosen(
    images: pa.Table, *, split: str, labels: npt.NDArray[np.integer]
) -> pa.Table:
    """Make chosen images of an index's rows.

    Args:
      images: as `index_table.SCHEMA`; other columns are passed over.
      split: of the subset, that all of them go into.
      labels: shape (images,).
    """
    columns = [images[name] for name in index_table.SCHEMA.names]
    splits = pa.repeat(split, images.num_rows)
    return pa.table([splits, pa.array(labels), *columns], CHOSEN.names).cast(CHOSEN)


def set_split(images: pa.Table, splits: pa.Array) -> pa.Table:
    """Move chosen images into other splits of the subset."""
    return images.set_column(0, CHOSEN.field("subset_split"), splits.cast(_TEXT))


def sort_indices(
    images: pa.Table, purpose: seeds.Purpose, *, by: Sequence[str] = (), seed: int
) -> pa.Array:
    """Return the images' places in a pseudo-random order, after some columns."""
    keys = (key for chunk in images["key"].chunks for key in chunk.to_pylist())
    columns = {
        **{name: images[name].cast(pa.string()) for name in by},
        "order": pa.array(seeds.orders(seed, purpose, keys)),
        "key": images["key"],
    }
    return pc.sort_indices(
        pa.table(columns), sort_keys=[(name, "ascending") for name in columns]
    )


def assign_folds(images: pa.Table, *, num_folds: int, seed: int) -> pa.Table:
    """Give each class's first ⌈n/2⌉ by hash to fold A, the rest to fold B.

    Args:
      images: chosen ones, as `chosen.CHOSEN`.
      num_folds: 1: all stay in `train`.
      seed: the user's.
    Returns: the same, perhaps in another order.
    """
    if num_folds == 1:
        return images
    is_train = pc.equal(images["subset_split"], "train")
    train = images.filter(is_train).combine_chunks()
    train = train.take(sort_indices(train, "fold", by=["wnid"], seed=seed))
    # In the order of the classes, in which the images are now.
    sizes = pc.value_counts(train["wnid"].cast(pa.string())).field("counts").to_numpy()
    starts = np.cumsum(sizes) - sizes
    in_class = np.arange(train.num_rows) - np.repeat(starts, sizes)
    is_first = in_class < np.repeat(-(-sizes // 2), sizes)
    halves = pc.if_else(pa.array(is_first), "fold_a", "fold_b")
    others = images.filter(pc.invert(is_train))
    return pa.concat_tables([others, set_split(train, halves)])
