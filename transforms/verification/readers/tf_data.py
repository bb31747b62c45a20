"""Read TFRecord shards with tf.data, without TensorFlow Datasets."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from transforms.verification.readers import ReadImage

FORMAT = "tfrecord"
LIBRARY = "tensorflow"
USES_TENSORFLOW = True
_BATCH = 256


def read_names(directory: str) -> None:
    """Return None: the records contain no label names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every shard of every split; TensorFlow verifies each record's checksum."""
    tf = importlib.import_module(LIBRARY)
    for split in splits:
        files = sorted(tf.io.gfile.glob(f"{directory}/__tfds__/*-{split}.tfrecord-*"))
        records = tf.data.TFRecordDataset(files).batch(_BATCH)
        for batch in records.as_numpy_iterator():
            yield from parse_examples(split, batch)


def parse_examples(split: str, batch: Any) -> Iterator[ReadImage]:
    """Yield the images of serialised tf.train.Example messages, shape (images,)."""
    tf = importlib.import_module(LIBRARY)
    features = {
        name: tf.io.FixedLenFeature([], kind)
        for name, kind in {
            "image": tf.string,
            "label": tf.int64,
            "fine_label": tf.int64,
            "wnid": tf.string,
            "file_name": tf.string,
        }.items()
    }
    parsed = tf.io.parse_example(batch, features)
    columns = (parsed[name].numpy().tolist() for name in features)
    for image, label, fine_label, wnid, file_name in zip(*columns, strict=True):
        name = file_name.decode()
        key = name.removesuffix(".JPEG")
        yield ReadImage(split, key, image, (label,), fine_label, wnid.decode(), name)
