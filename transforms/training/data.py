"""The directory of a finished dataset → all that training needs to know of it."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from transforms import formats, seeds, storage
from transforms.dataset import manifest, paths
from transforms.models import image_list
from transforms.models.image_list import ImageSource
from transforms.predictions.table import ModelClass
from transforms.records import JobError, UsageError
from transforms.storage import staging
from transforms.training import checkpoint

CLASSES = "classes.json"
FORMAT = "tfrecord"  # what models are trained on
_MIN_CLASSES = 2
_VERIFY = "see what is wrong with python -m pipelines.verify"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """One split to train on, and one to validate on.

    Attributes:
      name: of the dataset.
      subset_id: of the dataset.
      classes: of its labels, in their order.
      shards: paths of the TFRecord files to train on, sorted.
      train_keys: of the images to train on, sorted.
      train_sizes: shape (images, 2), their widths and heights.
      validation: the images to validate on.
    """

    name: str
    subset_id: str
    classes: tuple[ModelClass, ...]
    shards: tuple[str, ...]
    train_keys: pa.Array
    train_sizes: npt.NDArray[np.int64]
    validation: ImageSource


def read_training_set(
    directory: str, *, train_split: str, validation_split: str
) -> TrainingSet:
    """Read what a dataset holds.

    Raises: UsageError: all that is wrong with it, or with the splits.
    """
    if not storage.exists(f"{directory}/{paths.COMPLETE}"):
        raise UsageError(f"--dataset {directory}: {_describe_missing(directory)}")
    try:
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        name, subset_id = str(recipe["name"]), str(recipe["subset_id"])
        written = ", ".join(recipe["formats"])
        classes = _read_classes(directory)
        rows = _read_rows(directory)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(
            f"--dataset {directory}: is damaged ({type(error).__name__}: {error}); "
            f"{_VERIFY}"
        ) from error
    problems = list(_find_split_problems(rows, train_split, validation_split))
    if FORMAT not in recipe["formats"]:
        problems.append(
            f"--dataset {directory}: holds {written}, and training reads {FORMAT}; "
            f"build it again with --formats {FORMAT}"
        )
    if len(classes) < _MIN_CLASSES:
        problems.append(f"--dataset {directory}: holds one class; nothing is learned")
    if problems:
        raise UsageError("\n".join(problems))
    train = rows.filter(pc.equal(rows["split"], train_split)).sort_by("key")
    return TrainingSet(
        name=name,
        subset_id=subset_id,
        classes=classes,
        shards=_find_shards(directory, train_split),
        train_keys=train["key"].combine_chunks(),
        train_sizes=np.column_stack([train["width"], train["height"]]).astype(np.int64),
        validation=image_list.read_dataset(directory, validation_split),
    )


def _describe_missing(directory: str) -> str:
    if not storage.is_folder(directory):
        return "no such folder; make one with python -m pipelines.build"
    inside = sorted(
        path.parent.parent.relative_to(directory).as_posix()
        for depth in ("*", "*/*")
        for path in Path(directory).glob(f"{depth}/{paths.COMPLETE}")
    )
    if inside:
        return f"is no dataset, but holds some; name one of them: {', '.join(inside)}"
    return (
        f"is no finished dataset (no {paths.COMPLETE}); finish it with "
        "python -m pipelines.build --resume"
    )


def _read_classes(directory: str) -> tuple[ModelClass, ...]:
    found = json.loads(storage.read(f"{directory}/{CLASSES}"))
    listed = sorted(found, key=lambda item: item["label"])
    if [item["label"] for item in listed] != list(range(len(listed))):
        raise ValueError(f"{CLASSES} skips a label")
    return tuple(ModelClass(item["name"], tuple(item["wnids"])) for item in listed)


def _read_rows(directory: str) -> pa.Table:
    columns = ["key", "split", "width", "height"]
    rows = pq.read_table(f"{directory}/{paths.MANIFEST}", columns=columns)
    rows = rows.cast(pa.schema([manifest.SCHEMA.field(name) for name in columns]))
    smallest = min(
        (pc.min(rows[side]).as_py() or 0 for side in ("width", "height")), default=0
    )
    if smallest < 1 or any(column.null_count for column in rows.columns):
        raise ValueError("its manifest has sizes that cannot be")
    return rows


def _find_split_problems(
    rows: pa.Table, train_split: str, validation_split: str
) -> Iterator[str]:
    counts = pc.value_counts(rows["split"].combine_chunks()).to_pylist()
    held = {c["values"]: c["counts"] for c in counts}
    shown = ", ".join(f"{name} ({held[name]} images)" for name in sorted(held))
    given = {"train_split": train_split, "validation_split": validation_split}
    for flag, split in given.items():
        if split not in held:
            yield f"--{flag} {split}: there are no such images, but {shown}"
    if train_split == validation_split:
        yield (
            f"--validation_split {validation_split}: is what is trained on; name "
            "another split"
        )


def _find_shards(directory: str, split: str) -> tuple[str, ...]:
    find_split = formats.load(FORMAT).find_split
    paths_of_split = (
        p for p in storage.list_files(directory) if find_split(p) == split
    )
    return tuple(sorted(f"{directory}/{path}" for path in paths_of_split))


Tensor: TypeAlias = Any  # TensorFlow has no types

MAX_CACHED_BYTES = 1 << 30  # twice that while they are read
_BUFFERED_IMAGES = 8192
_SHARDS_AT_ONCE = 8
_READ_AT_ONCE = 256
_SHRINKS = (8, 4, 2, 1)  # what JPEG decoders can divide a side by
# Sides are decoded to no more than this many times what the model takes: a crop of a
# quarter of the area then still has all its pixels, and memory and time are bounded.
_OVERSIZE = 2
# Inception's range begins at 0.08, for a hundred epochs and more; on real photographs
# at 32 pixels a small network was 1.7 points better with 0.25 after three epochs.
CROP_AREA = (0.25, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
_PROCESSOR = "/CPU:0"
_MAX_SEED = 1 << 62
MISFIT = (
    "the shards do not hold what the manifest says; see what is wrong with "
    "python -m pipelines.verify"
)
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "file_name": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What is fed.

    Attributes:
      files: the shards.
      sizes: shape (images, 2), widths and heights, as the manifest has them.
      image_size: the side of what the model takes.
      num_classes: the number of labels.
      batch_size: the last batch of an epoch may be smaller.
      seed: decides order and crops.
    """

    files: Sequence[str]
    sizes: npt.NDArray[np.int64]
    image_size: int
    num_classes: int
    batch_size: int
    seed: int

    @property
    def num_images(self) -> int:
        """Count the images of an epoch."""
        return len(self.sizes)

    @property
    def num_decoded_bytes(self) -> int:
        """Return what all images take when they are decoded."""
        shorter = self.sizes.min(axis=1)
        shrink = np.ones_like(shorter)
        for ratio in reversed(_SHRINKS):
            shrink[shorter // ratio >= _OVERSIZE * self.image_size] = ratio
        width, height = -(-self.sizes.T // shrink)
        return int((width * height).sum()) * 3


class InputPipeline:
    """Batches of float32 images from 0 to 255, and their labels as one-hot rows."""

    def __init__(self, feed: Feed, *, max_cached_bytes: int = MAX_CACHED_BYTES) -> None:
        self._feed = feed
        is_small = feed.num_decoded_bytes <= max_cached_bytes
        self._kept = _Kept(feed) if is_small else None

    def make_epoch(self, number: int) -> tf.data.Dataset:
        """Return the batches of an epoch, which counts from 1."""
        feed = self._feed
        names = [f"epoch {number}", f"crop {number}", f"mirror {number}"]
        order, crop, mirror = (seeds.order(feed.seed, "draw", name) for name in names)
        parallel = tf.data.AUTOTUNE
        if self._kept:
            decoded = self._kept.read(order)
        else:
            decoded = _stream(feed, order).map(_decode_for(feed.image_size), parallel)

        def augment(pixels: Tensor, label: Tensor, mark: Tensor) -> tuple:
            pixels = _crop(pixels, feed.image_size, [crop, mark])
            pixels = tf.image.stateless_random_flip_left_right(pixels, [mirror, mark])
            return pixels, tf.one_hot(label, feed.num_classes)

        batches = decoded.map(augment, parallel).batch(feed.batch_size)
        return batches.prefetch(parallel)


class _Kept:
    """All images, decoded once: pixels end to end, and where each one's begin."""

    def __init__(self, feed: Feed) -> None:
        pixels = np.empty(feed.num_decoded_bytes, np.uint8)
        shapes, rows, offset = [], [], 0
        records = tf.data.TFRecordDataset(list(feed.files)).map(_parse)
        decoded = records.map(_decode_for(feed.image_size), tf.data.AUTOTUNE)
        for values, shape, row in decoded.map(_flatten).ragged_batch(_READ_AT_ONCE):
            end = offset + len(values.flat_values)
            if end > len(pixels):
                raise JobError(MISFIT)
            pixels[offset:end] = values.flat_values
            shapes.append(shape.numpy())
            rows.append(row.numpy())
            offset = end
        if sum(map(len, rows)) != feed.num_images:
            raise JobError(MISFIT)
        shape = np.concatenate(shapes)
        ends = np.cumsum(shape.prod(axis=1))
        begins = ends - shape.prod(axis=1)
        with tf.device(_PROCESSOR):  # a GPU's memory is for the model
            self._pixels = tf.constant(pixels)
            self._places = tf.constant(np.column_stack([begins, ends, shape]))
            self._rows = tf.constant(np.concatenate(rows))

    def read(self, seed: int) -> tf.data.Dataset:
        """Return all images in the order that a seed gives."""
        with tf.device(_PROCESSOR):
            draws = tf.random.stateless_uniform(
                [len(self._rows)], [seed, 0], None, None, tf.int64, alg="philox"
            )
            order = tf.argsort(draws, stable=True)

        def pick(number: Tensor) -> tuple:
            place = self._places[number]
            image = tf.reshape(self._pixels[place[0] : place[1]], place[2:])
            label, mark = tf.unstack(self._rows[number])
            return image, label, mark

        return tf.data.Dataset.from_tensor_slices(order).map(pick)


def _stream(feed: Feed, seed: int) -> tf.data.Dataset:
    """Read all records, shards in any order, mixed by a bounded buffer."""
    files = tf.data.Dataset.from_tensor_slices(sorted(feed.files))
    shuffled = files.shuffle(len(feed.files), seed % _MAX_SEED)
    records = shuffled.interleave(
        tf.data.TFRecordDataset,
        cycle_length=_SHARDS_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    count = tf.data.experimental.assert_cardinality(feed.num_images)
    mixed = records.shuffle(_BUFFERED_IMAGES, seed % _MAX_SEED)
    return mixed.map(_parse, tf.data.AUTOTUNE).apply(count)


def _parse(record: Tensor) -> tuple:
    """Take apart a record; its mark stands for its key where integers are needed."""
    found = tf.io.parse_single_example(record, _FEATURES)
    mark = tf.strings.to_hash_bucket_fast(found["file_name"], 1 << 62)
    return found["image"], found["label"], mark


def _flatten(pixels: Tensor, label: Tensor, mark: Tensor) -> tuple:
    shape = tf.shape(pixels, tf.int64)
    return tf.reshape(pixels, [-1]), shape, tf.stack([label, mark])


def _decode_for(image_size: int) -> Any:  # noqa: ANN401  # a function of tensors
    """Return what decodes a JPEG, shrunk where it is far larger than needed."""

    def decode(data: Tensor, label: Tensor, mark: Tensor) -> tuple:
        shorter = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])
        enough = [shorter // ratio >= _OVERSIZE * image_size for ratio in _SHRINKS[:-1]]
        decoders = [
            lambda ratio=ratio: tf.io.decode_jpeg(
                data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            for ratio in _SHRINKS
        ]
        cases = list(zip(enough, decoders[:-1], strict=True))
        return tf.case(cases, default=decoders[-1]), label, mark

    return decode


def _crop(pixels: Tensor, image_size: int, seed: list) -> Tensor:
    """Cut out a random part and bring it to the size, without aliasing."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(pixels),
        tf.zeros([1, 0, 4]),
        seed,
        min_object_covered=0.0,
        area_range=CROP_AREA,
        aspect_ratio_range=CROP_RATIO,
        use_image_if_no_bounding_boxes=True,
    )
    part = tf.slice(pixels, begin, size)
    resized = tf.image.resize(part, [image_size, image_size], antialias=True)
    return tf.ensure_shape(resized, [image_size, image_size, 3])


@contextmanager
def stage_dataset(directory: str, validation_split: str) -> Iterator[str]:
    """Name a local copy of what training needs of a dataset; itself, if it is local.

    Raises: UsageError: there is no room for it.
    """
    manifest_format = ""
    if storage.is_remote(directory):
        sys.stderr.write(f"copying the dataset from {directory}\n")
        manifest_format = _find_manifest_format(directory)

    def is_needed(path: str) -> bool:
        for name in formats.FORMATS:
            if (split := formats.load(name).find_split(path)) is not None:
                is_validation = name == manifest_format and split == validation_split
                return name == FORMAT or is_validation
        return True

    with staging.stage_folder(directory, wanted=is_needed) as folder:
        yield folder


def _find_manifest_format(directory: str) -> str:
    """Return the format that the manifest locates images in; "" if it is unknown."""
    try:
        return str(
            json.loads(storage.read(f"{directory}/{paths.RECIPE}"))["formats"][0]
        )
    except (OSError, ValueError, LookupError, TypeError):
        return ""  # `read_training_set` reports what is wrong


@contextmanager
def stage_models(output: str, names: Sequence[str]) -> Iterator[str]:
    """Name a local copy of what lies there of these models; itself, if it is local."""

    def is_one(name: str) -> bool:
        return name.split("/", 1)[0] in names

    with staging.stage_folder(output, wanted=is_one) as folder:
        yield folder


def copy_results_back(folder: str, *, output: str, target: str) -> None:
    """Bring a model's folder to its bucket; a local one is there.

    Args:
      folder: in `output`.
      output: as `of_models` named it.
      target: where the models are wanted.
    """
    if not storage.is_remote(target):
        return
    there = f"{target}{folder.removeprefix(output)}"
    storage.copy_folder(folder, there)
    if not storage.exists(f"{folder}/{checkpoint.FOLDER}"):
        storage.remove_folder(f"{there}/{checkpoint.FOLDER}")
