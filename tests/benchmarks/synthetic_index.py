"""Write an index of the size of ImageNet, without images.

    python -m tests.benchmarks.synthetic_index imagenet_1k.parquet
    python -m tests.benchmarks.synthetic_index imagenet_21k.parquet --classes 10900

It has the keys, class sizes and locations of an index of the official archives, in a
bucket that does not exist: use it for `build --dry_run`, or for `--plan_only` with a
`--root` on this machine, which must exist and is not read.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import seeds
from transforms.index import table as index_table
from transforms.labels.classes import load_classes

ROOT = "gs://nobodys-bucket/imagenet"
LARGEST, SMALLEST, NUM_LARGEST = 1300, 732, 895  # of 1000 classes
NUM_TRAIN, NUM_VALIDATION = 1_281_167, 50_000
_MEAN_BYTES, _CLASSES_A_PART = 110_000, 100


def count_images() -> list[int]:
    """Return image counts of 1000 classes with the real sum, minimum and maximum."""
    num_smaller = 1000 - NUM_LARGEST
    missing = 1000 * LARGEST - NUM_TRAIN - (LARGEST - SMALLEST)
    shares = np.arange(1, num_smaller)
    lacks = 1 + np.floor(shares * (missing - len(shares)) / shares.sum()).astype(int)
    lacks[: missing - lacks.sum()] += 1
    return [LARGEST] * NUM_LARGEST + [LARGEST - n for n in lacks.tolist()] + [SMALLEST]


def list_wnids(num_classes: int) -> list[str]:
    """Return the 1000 official wnids, followed by wnids that WordNet does not use."""
    official = [info.wnid for info in load_classes()]
    return [*official, *(f"n9{n:07d}" for n in range(num_classes))][:num_classes]


def write_index(path: Path, *, num_classes: int = 1000, root: str = ROOT) -> int:
    """Write the index; return its number of images."""
    sizes, wnids = count_images(), list_wnids(num_classes)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = []
        for start in range(0, num_classes, _CLASSES_A_PART):
            tables = [
                _list_class(wnids[n], sizes[n % 1000])
                for n in range(start, min(start + _CLASSES_A_PART, num_classes))
            ]
            parts.append(f"{folder}/{start:06d}.parquet")
            pq.write_table(pa.concat_tables(tables), parts[-1])
        parts.append(f"{folder}/validation.parquet")
        pq.write_table(_list_validation(wnids[:1000]), parts[-1])
        index_table.merge_parts(parts, str(path), roots=[root], strays=[])
    return pq.read_metadata(path).num_rows


def _list_class(wnid: str, size: int) -> pa.Table:
    keys = [f"{wnid}_{number}" for number in range(size)]
    return _to_table(keys, [wnid] * size, "train", f"{wnid}.tar")


def _list_validation(wnids: list[str]) -> pa.Table:
    numbers = range(1, NUM_VALIDATION + 1)
    keys = [f"ILSVRC2012_val_{number:08d}" for number in numbers]
    classes = [wnids[number % len(wnids)] for number in numbers]
    return _to_table(keys, classes, "validation", "ILSVRC2012_img_val.tar")


def _to_table(keys: list[str], wnids: list[str], split: str, uri: str) -> pa.Table:
    orders = np.asarray(seeds.orders(0, "draw", keys)).astype(np.float64)
    spread = orders / orders.max()
    lengths = (_MEAN_BYTES * (0.5 + spread)).astype(np.int64)
    offsets = np.concatenate([[512], 512 + np.cumsum(lengths // 512 * 512 + 1024)[:-1]])
    n = len(keys)
    columns = [
        keys, wnids, [split] * n, [0] * n, [uri] * n, offsets, lengths, ["raw"] * n,
    ]  # fmt: skip
    arrays = [
        pa.array(column, field.type)
        for column, field in zip(columns, index_table.SCHEMA, strict=True)
    ]
    return pa.table(arrays, schema=index_table.SCHEMA)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a synthetic index.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--root", default=ROOT)
    flags = parser.parse_args()
    num_images = write_index(flags.path, num_classes=flags.classes, root=flags.root)
    sys.stdout.write(f"{num_images} images\n")
