"""Create and sort the table of selected images, from which shards are written."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import seeds
from transforms.index import table as index_table

_BATCH_ROWS = 1 << 16  # whose keys are Python objects at once
IMAGE_SCHEMA = pa.schema([("label", pa.int32()), *index_table.SCHEMA])


# Columns with few distinct values are dictionary-encoded: 1.28 million images of
# archives take 80 MB. `split` is the split of the source.
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_DICTIONARY_COLUMNS = {"wnid", "split", "uri", "encoding"}
SELECTED_SCHEMA = pa.schema([
    ("subset_split", _DICTIONARY),
    *(
        field.with_type(_DICTIONARY) if field.name in _DICTIONARY_COLUMNS else field
        for field in IMAGE_SCHEMA
    ),
])


def make_selected(
    images: pa.Table, *, split: str, labels: npt.NDArray[np.integer]
) -> pa.Table:
    """Create the table of selected images from rows of an index.

    Args:
      images: rows of the index; columns outside the index schema are dropped.
      split: the images' split in the subset.
      labels: the group label of each image, shape (images,).
    """
    columns = [images[name] for name in index_table.SCHEMA.names]
    splits = pa.repeat(split, images.num_rows)
    return pa.table([splits, pa.array(labels), *columns], SELECTED_SCHEMA.names).cast(
        SELECTED_SCHEMA
    )


def set_split(images: pa.Table, splits: pa.Array) -> pa.Table:
    """Set the subset split of each selected image; `splits` has one entry per image."""
    field = SELECTED_SCHEMA.field("subset_split")
    return images.set_column(0, field, splits.cast(_DICTIONARY))


def sort_indices(
    images: pa.Table, purpose: seeds.Purpose, *, by: Sequence[str] = (), seed: int
) -> pa.Array:
    """Return the row indices that sort images by columns, then hash; shape (images,).

    Args:
      images: the table to sort, with a column `key`.
      purpose: purpose of the hash; different purposes give independent orders.
      by: names of the columns to sort by before the hash.
      seed: seed of the hash.
    """
    batches = images.select(["key"]).to_batches(max_chunksize=_BATCH_ROWS)
    keys = (key for batch in batches for key in batch["key"].to_pylist())
    columns = {
        **{name: images[name].cast(pa.string()) for name in by},
        "order": pa.array(seeds.orders(seed, purpose, keys)),
        "key": images["key"],
    }
    return pc.sort_indices(
        pa.table(columns), sort_keys=[(name, "ascending") for name in columns]
    )


def assign_folds(images: pa.Table, *, num_folds: int, seed: int) -> pa.Table:
    """Assign half of the training images of each class to fold A, the others to B.

    In hash order, the first ⌈n/2⌉ of a class's n images go to fold A.

    Args:
      images: table with the schema `SELECTED_SCHEMA`.
      num_folds: 2, or 1 to keep all training images in `train`.
      seed: seed of the hash.

    Returns:
      The images, possibly in another order.
    """
    if num_folds == 1:
        return images
    is_train = pc.equal(images["subset_split"], "train")
    train = images.filter(is_train).combine_chunks()
    train = train.take(sort_indices(train, "fold", by=["wnid"], seed=seed))
    # The images are sorted by class, so value_counts returns the classes in order.
    sizes = pc.value_counts(train["wnid"].cast(pa.string())).field("counts").to_numpy()
    starts = np.cumsum(sizes) - sizes
    in_class = np.arange(train.num_rows) - np.repeat(starts, sizes)
    is_first = in_class < np.repeat(-(-sizes // 2), sizes)
    halves = pc.if_else(pa.array(is_first), "fold_a", "fold_b")
    others = images.filter(pc.invert(is_train))
    return pa.concat_tables([others, set_split(train, halves)])
