"""Parquet files of images and labels, for Hugging Face datasets and timm.

They are a root of their own in the dataset, with a card: all data that one card names
must be of one format. Every image's bytes lie in a file as they are, so that the
manifest's offset and length hold for these files too.
Source: datasets' packaged_modules/parquet and features.py.
"""

import json
from collections.abc import Sequence

import yaml

from transforms import storage
from transforms.datasets import JSON, Dataset, ShardPlace, SplitInfo
from transforms.parquet_file import Column, Writer
from transforms.records import ImageLocation, Record, Shard, WrittenFile

FOLDER = "parquet"
_TERMS = "https://www.image-net.org/download.php"
_COLUMNS = (
    Column(("image", "bytes"), bytes),
    Column(("image", "path"), str),
    Column(("label",), int),
    Column(("fine_label",), int),
    Column(("wnid",), str),
    Column(("file_name",), str),
)


def shard_path(name: str, shard: Shard) -> str:  # noqa: ARG001
    """Return where a shard lies in the dataset's directory."""
    return f"{FOLDER}/data/{shard}.parquet"


class ShardWriter:
    """Write one shard."""

    def __init__(self, place: ShardPlace) -> None:
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        # Folder names are the labels' names here; the card gives the display names.
        metadata = {"huggingface": json.dumps(_describe_features(place.folders))}
        self._writer = Writer(self._file.write, _COLUMNS, metadata)

    def add(self, record: Record) -> ImageLocation:
        """Append an image and its labels; return where the image's bytes lie."""
        name = record.file_name
        others = (name, record.label, record.fine_label, record.wnid, name)
        offset = self._writer.add(record.image, others)
        return ImageLocation(self._path, offset, len(record.image))

    def close(self) -> tuple[WrittenFile, ...]:
        """Write the footer and make the file appear."""
        self._writer.close()
        return (self._file.close(),)

    def discard(self) -> None:
        """Leave nothing behind; harmless after `close`."""
        self._file.discard()


def _describe_features(names: Sequence[str]) -> JSON:
    """Say what the columns are, in the words of Hugging Face's Features."""
    string: JSON = {"dtype": "string", "_type": "Value"}
    features: JSON = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
        "fine_label": {"dtype": "int64", "_type": "Value"},
        "wnid": string,
        "file_name": string,
    }
    return {"info": {"features": features}}


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Make the card that Hugging Face loads the files by."""
    front = yaml.safe_dump(_front_matter(dataset), allow_unicode=True, sort_keys=False)
    text = f"""\
# {dataset.name}

Version {dataset.version}, subset id `{dataset.subset_id}`: a subset of ImageNet in
{len(dataset.labels)} groups, as Parquet. `label` is the group, from 0; `fine_label` the
class among ImageNet's 1000 in the order of their wnids, -1 for a class outside them.

The images are ImageNet's, and stay under [ImageNet's terms of access]({_TERMS}): for
non-commercial research and teaching only. Do not publish them without a gate that asks
for agreement to these terms.
"""
    return {f"{FOLDER}/README.md": f"---\n{front}---\n\n{text}".encode()}


def _front_matter(dataset: Dataset) -> dict[str, JSON]:
    names = {str(label.label): label.name for label in dataset.labels}
    features: JSON = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        {"name": "fine_label", "dtype": "int64"},
        {"name": "wnid", "dtype": "string"},
        {"name": "file_name", "dtype": "string"},
    ]
    files: JSON = [
        {"split": split.name, "path": f"data/{split.name}-*.parquet"}
        for split in dataset.splits
    ]
    return {
        "license": "other",
        "license_name": "imagenet",
        "license_link": _TERMS,
        "pretty_name": dataset.name,
        "task_categories": ["image-classification"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": features,
            "splits": [_count_split(split) for split in dataset.splits],
        },
    }


def _count_split(split: SplitInfo) -> JSON:
    num_bytes = sum(file.num_bytes for file in split.files["parquet"])
    return {
        "name": split.name,
        "num_bytes": num_bytes,
        "num_examples": split.num_images,
    }


def how_to_load(dataset: Dataset) -> str:
    """Write the card's part on this format; the split to validate on is the last."""
    train, validation = dataset.splits[0].name, dataset.splits[-1].name
    place = f"{dataset.example_path}/{FOLDER}"
    return f"""\
Hugging Face datasets, from Parquet:

```python
from datasets import load_dataset

dataset = load_dataset("{place}", split="{train}")
image, label = dataset[0]["image"], dataset[0]["label"]
```

timm:

```sh
python train.py --dataset hfds/{place} --num-classes {len(dataset.labels)} \\
  --train-split {train} --val-split {validation}
```
"""
