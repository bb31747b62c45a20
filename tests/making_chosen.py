"""Create tables of selected images, as a sampler returns them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms.index import table as index_table
from transforms.sampling import selected


def make(keys: Sequence[str]) -> pa.Table:
    """Return selected training images of one class, with label 0."""
    rows = [(key, "n00000001", "train", 0, "t", 0, 1, "raw") for key in keys]
    columns = [list(column) for column in zip(*rows, strict=True)]
    refs = pa.table(columns, schema=index_table.SCHEMA)
    return selected.make_selected(refs, split="train", labels=np.zeros(len(rows), int))
