"""Read the number of images per shard that a dataset's metadata declares.

TensorFlow Datasets writes shard lengths to `dataset_info.json`. timm and this program
write the lengths of WebDataset tars to `_info.json`. Both are hints only: a metadata
file that cannot be parsed is ignored.
"""

import json
from typing import Any

from transforms import storage

_MAX_BYTES = 1 << 24


def read_lengths(folder: str) -> dict[str, int]:
    """Return the declared number of images of each shard.

    Args:
      folder: folder of the dataset.

    Returns:
      Number of images of each shard: by file name as in `dataset_info.json`, or by path
      relative to `folder` as in `_info.json`. Missing or invalid metadata is ignored.
    """
    # This program writes records to a subfolder of the folder with the metadata.
    return _read_tfds(folder.removesuffix("/__tfds__")) | _read_timm(folder)


def _read_tfds(folder: str) -> dict[str, int]:
    described = _read_json(f"{folder}/dataset_info.json")
    lengths: dict[str, int] = {}
    try:
        for split in described["splits"]:
            numbers = [int(length) for length in split["shardLengths"]]
            for number, length in enumerate(numbers):
                name = f"{described['name']}-{split['name']}.tfrecord"
                lengths[f"{name}-{number:05d}-of-{len(numbers):05d}"] = length
    except (KeyError, TypeError, ValueError):
        return {}
    return lengths


def _read_timm(folder: str) -> dict[str, int]:
    described = _read_json(f"{folder}/_info.json")
    lengths: dict[str, int] = {}
    try:
        for split in described["splits"].values():
            numbers = map(int, split["shard_lengths"])
            lengths |= zip(map(str, split["filenames"]), numbers, strict=True)
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return lengths


def _read_json(path: str) -> Any:
    try:
        if not storage.is_file(path) or storage.num_bytes(path) > _MAX_BYTES:
            return {}
        return json.loads(storage.read(path))
    except (OSError, ValueError, RecursionError):
        return {}
