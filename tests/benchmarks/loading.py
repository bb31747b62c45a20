"""Measure how fast readers load a dataset's shards and the same images as files.

    python -m tests.benchmarks.loading subsets/demonstration/1.0.0 > loading.json

One process decodes every training image to an array. Shards are read in order, as
their readers do, and files in shuffled order, as training requires. Each format is
compared with files in the same decoder: webdataset and Pillow, tf.data and TensorFlow.
The best round counts. All rounds run on a warm page cache; a cold disk or a bucket
favours shards more.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.settings import Row, Settings
from transforms import seeds

SPLIT = "train"
LIBRARIES = ("pillow", "tensorflow", "webdataset")
WEBDATASET, TFRECORD = "WebDataset with webdataset", "TFRecord with tf.data"
PILLOW, TENSORFLOW = "files with Pillow", "files with tf.data"
PAIRS = ((WEBDATASET, PILLOW), (TFRECORD, TENSORFLOW))
_PART = 10  # a tenth of the images of other benchmarks: readers decode one by one


def measure(settings: Settings) -> list[Row]:
    """Build some images in both formats, and read them in a separate process."""
    num_images = settings.images // _PART
    folder = photographs.make_archive(settings, num_images)
    output = settings.work / "loading"
    throughput.build_all(folder, output, "--formats", "webdataset,tfrecord")
    usage = children.run_module(
        __name__, output / "photographs" / "1.0.0", "--rounds", settings.repetitions + 1
    )
    read = json.loads(usage.output[usage.output.index("{") :])
    speeds = read["images_per_s"]
    return [
        Row(
            what=f"loading: images per second, {reader}, compared with {files}",
            measured=f"{speeds[reader]:.0f}; {speeds[reader] / speeds[files]:.2f} × "
            f"a plain folder ({speeds[files]:.0f})",
            target="reported",
            reached=None,
            figures=read,
        )
        for reader, files in PAIRS
    ]


def read_webdataset(directory: Path) -> Iterable[Any]:
    import webdataset  # each reader needs only its library

    shards = sorted(map(str, (directory / SPLIT).glob("*.tar")))
    images = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    return images.to_tuple("jpg", "cls")


def read_files(files: list[Path]) -> Iterable[Any]:
    for path in files:
        with Image.open(path) as picture:
            yield np.asarray(picture.convert("RGB"))


def read_tfrecord(directory: Path) -> Iterable[Any]:
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def decode(record: Any) -> Any:
        example = tf.io.parse_single_example(record, features)
        return tf.io.decode_jpeg(example["image"], channels=3), example["label"]

    records = sorted(map(str, (directory / "__tfds__").glob(f"*-{SPLIT}.tfrecord-*")))
    return _in_one_thread(tf.data.TFRecordDataset(records).map(decode))


def read_files_with_tensorflow(files: list[Path]) -> Iterable[Any]:
    import tensorflow as tf

    def decode(path: Any) -> Any:
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in files])
    return _in_one_thread(paths.map(decode))


def _in_one_thread(data: Any) -> Iterable[Any]:
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    return data.with_options(options).as_numpy_iterator()


def write_files(directory: Path, folder: Path) -> list[Path]:
    """Write the training images of a dataset as files; return them shuffled."""
    table = pq.read_table(
        directory / "__meta__" / "manifest.parquet",
        columns=["key", "split", "label", "file", "offset", "length"],
    )
    files = []
    for row in table.to_pylist():
        if row["split"] == SPLIT:
            with (directory / row["file"]).open("rb") as shard:
                shard.seek(row["offset"])
                image = shard.read(row["length"])
            path = folder / f"{row['label']:04d}" / f"{row['key']}.JPEG"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image)
            files.append(path)
    return sorted(files, key=lambda path: seeds.order(0, "shuffle", path.stem))


def time_reader(
    read: Callable[[], Iterable[Any]], num_images: int, rounds: int
) -> float:
    """Return the images per second of the best round.

    Raises:
      ValueError: a reader returned another number of images.
    """
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        num_read = sum(1 for _ in read())
        best = max(best, num_read / (time.perf_counter() - start))
        if num_read != num_images:
            raise ValueError(f"{num_read} images were read, {num_images} were written")
    return round(best, 1)


def main(argv: list[str]) -> None:
    """Measure the formats that the directory has, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="a built dataset")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts")
    options = parser.parse_args(argv)
    directory = options.directory
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(directory, Path(folder))
        num_bytes = sum(path.stat().st_size for path in files)
        readers: dict[str, Callable[[], Iterable[Any]]] = {}
        if (directory / SPLIT).is_dir():
            readers[WEBDATASET] = lambda: read_webdataset(directory)
            readers[PILLOW] = lambda: read_files(files)
        if (directory / "__tfds__").is_dir():
            readers[TFRECORD] = lambda: read_tfrecord(directory)
            readers[TENSORFLOW] = lambda: read_files_with_tensorflow(files)
        speeds = {
            name: time_reader(read, len(files), options.rounds)
            for name, read in readers.items()
        }
    result = {
        "images": len(files),
        "mean_image_bytes": num_bytes // max(len(files), 1),
        "images_per_s": speeds,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    sys.stdout.write(f"{json.dumps(result, indent=2)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
