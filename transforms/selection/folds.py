"""Chosen images → their training images in two halves, each half of every class."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.tables import chosen


def split(images: pa.Table, *, num_folds: int, seed: int) -> pa.Table:
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
    train = train.take(chosen.sort_indices(train, "fold", by=["wnid"], seed=seed))
    # In the order of the classes, in which the images are now.
    sizes = pc.value_counts(train["wnid"].cast(pa.string())).field("counts").to_numpy()
    starts = np.cumsum(sizes) - sizes
    in_class = np.arange(train.num_rows) - np.repeat(starts, sizes)
    is_first = in_class < np.repeat(-(-sizes // 2), sizes)
    halves = pc.if_else(pa.array(is_first), "fold_a", "fold_b")
    others = images.filter(pc.invert(is_train))
    return pa.concat_tables([others, chosen.set_split(train, halves)])
