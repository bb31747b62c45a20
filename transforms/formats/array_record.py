"""Write ArrayRecord shards of tf.train.Example, for random access with Grain and JAX.

Every record is a separate chunk without compression, so readers fetch any image in one
read, and the bytes depend only on the records. The files are in a separate folder with
the metadata of TensorFlow Datasets, which allows one format per folder.

Source: google/array_record; TFDS's file_adapters.py.
"""

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms import storage
from transforms.archives import riegeli, tfrecords
from transforms.formats import Dataset, ShardPlace, WrittenShard
from transforms.formats.tfrecord import describe_for_tfds
from transforms.records import ImageLocation, Record, Shard

LIBRARY, EXTRA = "array_record", "array_record"
IMAGE_ENCODING = "riegeli"
FOLDER = "array_record"
_OPTIONS = "group_size:1,uncompressed"


def shard_path(name: str, shard: Shard) -> str:
    """Return the path of a shard, relative to the dataset's folder."""
    part = f"{shard.number:05d}-of-{shard.num_shards:05d}"
    return f"{FOLDER}/{name}-{shard.split}.array_record-{part}"


def find_split(path: str) -> str | None:
    """Return the split of the images in a file; None if it is not of this format."""
    folder, _, name = path.rpartition("/")
    stem, _, suffix = name.partition(".")
    is_shard = folder == FOLDER and suffix.startswith("array_record-")
    return stem.rpartition("-")[2] if is_shard else None


class ShardWriter:
    """Write one shard as an ArrayRecord file."""

    def __init__(self, place: ShardPlace) -> None:
        library = importlib.import_module("array_record.python.array_record_module")
        self._path = shard_path(place.name, place.shard)
        self._file = storage.AtomicFile(place.root, self._path)
        self._writer = library.ArrayRecordWriter(self._file.temporary_path, _OPTIONS)
        self._images: list[tuple[int, int]] = []  # offset in the record, and length

    def add(self, record: Record) -> None:
        """Append an image and its labels."""
        example, offset = tfrecords.encode_record(record)
        with _write_errors(self._path):
            self._writer.write(example)
        self._images.append((offset, len(record.image)))

    def close(self) -> WrittenShard:
        """Move the file to its final path; return it and the image locations."""
        with _write_errors(self._path):
            self._writer.close()
        local = self._file.temporary_path
        starts = riegeli.locate_records(local, len(self._images))
        locations = tuple(
            ImageLocation(self._path, *riegeli.to_file_range(start + offset, length))
            for start, (offset, length) in zip(starts, self._images, strict=True)
        )
        self._file.adopt()
        return WrittenShard((self._file.close(),), locations)

    def discard(self) -> None:
        """Remove the unfinished file; do nothing after `close`."""
        with suppress(RuntimeError):  # its buffer may not fit on the disk
            self._writer.close()
        self._file.discard()


@contextmanager
def _write_errors(path: str) -> Iterator[None]:
    """Translate the library's errors, which contain no error number, only its text.

    Raises:
      JobError: the disk is full.
    """
    with storage.full_disk_errors(path):
        try:
            yield
        except RuntimeError as error:
            text = str(error)
            numbers = (n for n in errno.errorcode if f": {os.strerror(n)};" in text)
            raise OSError(next(numbers, errno.EIO), text, path) from error


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return the metadata files that `tfds.builder_from_directory` reads."""
    files = describe_for_tfds(
        dataset, "array_record", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    )
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads one image."""
    return f"""\
import tensorflow_datasets as tfds  # pip install tensorflow-datasets
builder = tfds.builder_from_directory("{directory}/{FOLDER}")
images = builder.as_data_source(split="{split}")
example = images[0]  # example["image"], example["label"]"""


def how_to_load(dataset: Dataset) -> str:
    """Return the card's section on this format."""
    return f"""\
Grain, from ArrayRecord with random access (TensorFlow Datasets parses the records):

```python
import grain
import tensorflow_datasets as tfds

builder = tfds.builder_from_directory("{dataset.example_path}/{FOLDER}")
source = builder.as_data_source(split="{dataset.splits[0].name}")
dataset = grain.MapDataset.source(source).shuffle(seed=0)
image, label = dataset[0]["image"], dataset[0]["label"]
```
"""
