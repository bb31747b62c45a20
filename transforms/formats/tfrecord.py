"""Write TFRecord shards of tf.train.Example and the metadata of TensorFlow Datasets.

Source: TFDS's dataset_info.proto, feature.proto and naming.py.
"""

import re
from functools import cache
from importlib import resources

from transforms import storage
from transforms.archives import tfrecords
from transforms.formats import (
    CITATION,
    TERMS,
    Dataset,
    ShardPlace,
    SplitInfo,
    WrittenShard,
)
from transforms.records import JSON, ImageLocation, Record, Shard, to_json

ENCODING_FORMAT = "application/x-tfrecord"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MAX_NAME_CHARACTERS = 100


def shard_path(name: str, shard: Shard) -> str:
    """Return the path of a shard, relative to the dataset's folder."""
    part = f"{shard.number:05d}-of-{shard.num_shards:05d}"
    return f"__tfds__/{name}-{shard.split}.tfrecord-{part}"


def find_split(path: str) -> str | None:
    """Return the split of the images in a file; None if it is not of this format."""
    folder, _, name = path.rpartition("/")
    if folder != "__tfds__":
        return None
    return name.partition(".")[0].rpartition("-")[2]


class ShardWriter:
    """Write one shard as a TFRecord file."""

    def __init__(self, place: ShardPlace) -> None:
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        self._locations: list[ImageLocation] = []

    def add(self, record: Record) -> None:
        """Append an image and its labels."""
        example, offset = tfrecords.encode_record(record)
        offset += self._file.tell() + tfrecords.HEADER_BYTES
        self._file.write(tfrecords.frame(example))
        location = ImageLocation(self._path, offset, len(record.image))
        self._locations.append(location)

    def close(self) -> WrittenShard:
        """Move the file to its final path; return it and the image locations."""
        return WrittenShard((self._file.close(),), tuple(self._locations))

    def discard(self) -> None:
        """Remove the unfinished file; do nothing after `close`."""
        self._file.discard()


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return the metadata files that `tfds.builder_from_directory` reads."""
    template = "__tfds__/{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    return describe_for_tfds(dataset, "tfrecord", template)


def describe_for_tfds(
    dataset: Dataset, format_name: str, template: str
) -> dict[str, bytes]:
    """Return the metadata files of TFDS for the shards of one format.

    Args:
      dataset: the dataset.
      format_name: the name of the format, which TFDS uses too.
      template: path of a shard relative to these files, with TFDS's placeholders.
    """
    names = "".join(f"{label.name}\n" for label in dataset.labels)
    info = _describe_dataset(dataset, format_name, template)
    return {
        "dataset_info.json": to_json(info),
        "features.json": to_json(_describe_features(len(dataset.labels))),
        "label.labels.txt": names.encode(),
        "metadata.json": to_json({
            "recipe": dataset.recipe,
            "subset_id": dataset.subset_id,
        }),
    }


def _describe_dataset(dataset: Dataset, format_name: str, template: str) -> JSON:
    """Return TFDS's DatasetInfo message; TFDS rejects unknown keys."""
    items: JSON = [{"featureKey": "image"}, {"featureKey": "label"}]
    return {
        "name": dataset.name,
        "version": dataset.version,
        "description": f"A subset of ImageNet (ILSVRC 2012) in {len(dataset.labels)} "
        "groups, under ImageNet's terms of access. README.md tells more.",
        "citation": CITATION,
        "location": {"urls": ["https://www.image-net.org/"]},
        "redistributionInfo": {"license": f"ImageNet's terms of access: {TERMS}"},
        "fileFormat": format_name,
        "supervisedKeys": {"tuple": {"items": items}},
        "splits": [
            _describe_split(split, format_name, template) for split in dataset.splits
        ],
    }


def _describe_split(split: SplitInfo, format_name: str, template: str) -> JSON:
    """Return TFDS's SplitInfo message, with 64-bit integers as strings."""
    num_bytes = sum(file.num_bytes for file in split.files[format_name])
    return {
        "name": split.name,
        "shardLengths": [str(length) for length in split.shard_lengths],
        "numBytes": str(num_bytes),
        "filepathTemplate": template,
    }


def _describe_features(num_labels: int) -> JSON:
    text: JSON = {"pythonClassName": _class_name("text_feature.Text"), "text": {}}
    dimensions: JSON = ["-1", "-1", "3"]
    features: JSON = {
        "file_name": text,
        "fine_label": {  # a plain integer: -1 is not a class label
            "pythonClassName": _class_name("tensor_feature.Tensor"),
            "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
        },
        "image": {
            "pythonClassName": _class_name("image_feature.Image"),
            "image": {
                "shape": {"dimensions": dimensions},
                "dtype": "uint8",
                "encodingFormat": "jpeg",
            },
        },
        "label": {
            "pythonClassName": _class_name("class_label_feature.ClassLabel"),
            "classLabel": {"numClasses": str(num_labels)},
        },
        "wnid": text,
    }
    return {
        "pythonClassName": _class_name("features_dict.FeaturesDict"),
        "featuresDict": {"features": features},
    }


def _class_name(name: str) -> str:
    return f"tensorflow_datasets.core.features.{name}"


@cache
def reserved_names() -> frozenset[str]:
    """Return the names of TFDS's datasets, which other datasets must not use."""
    path = resources.files("transforms.labels").joinpath("tfds_names.txt")
    return frozenset(path.read_text(encoding="utf-8").split())


def name_problem(name: str) -> str | None:
    """Return why a name is not valid for a dataset; None if it is valid."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARACTERS:
        return (
            f"{name!r} is not a dataset name: use a-z, 0-9 and _, a letter first, "
            f"at most {_MAX_NAME_CHARACTERS} characters"
        )
    if name in reserved_names():
        return (
            f"{name!r} is a dataset of TensorFlow Datasets, which would open that one "
            f"instead; try my_{name}"
        )
    return None


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads one image."""
    return f"""\
import tensorflow_datasets as tfds  # pip install tensorflow-datasets
builder = tfds.builder_from_directory("{directory}")
images = builder.as_dataset(split="{split}")
example = next(iter(images))  # example["image"], example["label"]"""


def how_to_load(dataset: Dataset) -> str:
    """Return the card's section on this format; assume the last split is validation."""
    train, validation = dataset.splits[0].name, dataset.splits[-1].name
    place = dataset.example_path
    return f"""\
TensorFlow Datasets:

```python
import tensorflow_datasets as tfds

builder = tfds.builder_from_directory("{place}")
dataset = builder.as_dataset(split="{train}", as_supervised=True, shuffle_files=True)
names = builder.info.features["label"].names
```

tf.data alone:

```python
import tensorflow as tf

files = tf.io.gfile.glob("{place}/__tfds__/*-{train}.tfrecord-*")
features = {{
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}}
dataset = tf.data.TFRecordDataset(sorted(files))
dataset = dataset.map(lambda record: tf.io.parse_single_example(record, features))
dataset = dataset.map(lambda x: (tf.io.decode_jpeg(x["image"], 3), x["label"]))
```

timm, from the TFRecord files:

```sh
python train.py --dataset tfds/{dataset.name} --data-dir PATH/TO \\
  --num-classes {len(dataset.labels)} --train-split {train} --val-split {validation}
```
"""
