"""An index of any number of images that are nowhere, with ImageNet's class sizes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.labels import classes
from transforms.tables import index_table

_ARCHIVE = "ILSVRC2012_img_train.tar"
_SMALLEST, _LARGEST, _NUM_LARGEST, _NUM_CLASSES = 732, 1300, 895, 1000
_TOTAL = 1_281_167
_FIRST_OTHER = 90_000_000  # no noun of WordNet has such a number


def class_sizes() -> list[int]:
    """Return ImageNet's: 895 classes of 1300, the others down to 732."""
    num_smaller = _NUM_CLASSES - _NUM_LARGEST
    steps = np.linspace(0, 1, num_smaller) ** 0.465  # which gives nearly the sum
    smaller = np.round(_SMALLEST + steps * (_LARGEST - 1 - _SMALLEST)).astype(int)
    smaller[-1] += _TOTAL - _NUM_LARGEST * _LARGEST - smaller.sum()
    sizes = [*smaller.tolist(), *[_LARGEST] * _NUM_LARGEST]
    return [sizes[position * 7 % _NUM_CLASSES] for position in range(_NUM_CLASSES)]


def write(path: Path, num_images: int) -> Path:
    """Write an index of training images, class after class until there are enough."""
    parts = path.parent / f".{path.stem}"
    parts.mkdir(parents=True)
    names = []
    for table in _make_classes(num_images):
        names.append(str(parts / f"{len(names):07d}.parquet"))
        pq.write_table(table, names[-1])
    index_table.merge_parts(names, str(path), roots=[str(path.parent)], strays=[])
    for name in names:
        Path(name).unlink()
    parts.rmdir()
    return path


def _make_classes(num_images: int) -> Iterator[pa.Table]:
    sizes, known = class_sizes(), classes.load_classes()
    rng = np.random.default_rng(0)
    offset, left, number = 512, num_images, 0
    while left:
        size = min(sizes[number % len(sizes)], left)
        wnid = (
            known[number].wnid
            if number < len(known)
            else f"n{_FIRST_OTHER + number:08d}"
        )
        lengths = rng.integers(20_000, 200_000, size)
        ends = np.cumsum(lengths + 1024) + offset
        yield _make_class(wnid, ends - lengths, lengths)
        offset, left, number = int(ends[-1]), left - size, number + 1


def _make_class(wnid: str, offsets: np.ndarray, lengths: np.ndarray) -> pa.Table:
    size = len(lengths)
    numbers = pc.cast(pa.array(range(1, size + 1)), pa.string())
    columns = {
        "key": pc.binary_join_element_wise(wnid, numbers, "_"),
        "wnid": pa.array([wnid] * size),
        "split": pa.array(["train"] * size),
        "input": pa.array(np.zeros(size, np.int32)),
        "uri": pa.array([_ARCHIVE] * size),
        "offset": pa.array(offsets),
        "length": pa.array(lengths),
        "encoding": pa.array(["raw"] * size),
    }
    return pa.table(columns, schema=index_table.SCHEMA)
