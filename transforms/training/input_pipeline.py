"""Read shards into shuffled, augmented training batches with tf.data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms import seeds
from transforms.records import JobError

Tensor: TypeAlias = Any  # TensorFlow has no types

MAX_CACHED_BYTES = 1 << 30  # twice as much while the cache is filled
_BUFFERED_IMAGES = 8192
_NUM_INTERLEAVED_SHARDS = 8
_CACHE_BATCH_IMAGES = 256
_SHRINKS = (8, 4, 2, 1)  # factors that JPEG decoders can divide a side by
# The decoder shrinks images while the shorter side stays this many times the model's
# input: a crop of a quarter of the area then needs no upscaling, and memory is bounded.
_OVERSIZE = 2
# Inception crops from 0.08 of the area and trains for a hundred epochs or more. A small
# network at 32 pixels is 1.7 points more accurate with 0.25 after three epochs.
CROP_AREA = (0.25, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
_CPU = "/CPU:0"
_MAX_SEED = 1 << 62
SHARD_MISMATCH = (
    "the shards do not match the manifest; check the dataset with "
    "python -m pipelines.verify"
)
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "file_name": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """Settings of the input pipeline.

    Attributes:
      files: paths of the TFRecord shards.
      sizes: shape (images, 2), width and height of each image in pixels.
      image_size: side of the model's input in pixels.
      num_classes: number of labels.
      batch_size: images per batch; the last batch of an epoch may be smaller.
      seed: random seed for image order, crops and flips.
    """

    files: Sequence[str]
    sizes: npt.NDArray[np.int64]
    image_size: int
    num_classes: int
    batch_size: int
    seed: int

    @property
    def num_images(self) -> int:
        """The number of images per epoch."""
        return len(self.sizes)

    @property
    def num_decoded_bytes(self) -> int:
        """The total size of all decoded images in bytes, after any shrinking."""
        shorter = self.sizes.min(axis=1)
        shrink = np.ones_like(shorter)
        for ratio in reversed(_SHRINKS):
            shrink[shorter // ratio >= _OVERSIZE * self.image_size] = ratio
        width, height = -(-self.sizes.T // shrink)
        return int((width * height).sum()) * 3


class InputPipeline:
    """Provides shuffled, augmented batches of images and one-hot labels.

    Images are float32, shape (batch, image_size, image_size, 3), 0 to 255; labels have
    shape (batch, num_classes). Datasets of at most `max_cached_bytes` when decoded are
    cached in memory; larger ones are read from the shards in every epoch.

    Raises:
      JobError: the dataset is cached and its shards do not match `settings`.
    """

    def __init__(
        self, settings: InputSettings, *, max_cached_bytes: int = MAX_CACHED_BYTES
    ) -> None:
        self._settings = settings
        is_small = settings.num_decoded_bytes <= max_cached_bytes
        self._cache = _ImageCache(settings) if is_small else None

    def make_epoch(self, number: int) -> tf.data.Dataset:
        """Return the batches of epoch `number`, counted from 1."""
        settings = self._settings
        names = [f"epoch {number}", f"crop {number}", f"mirror {number}"]
        order, crop, mirror = (
            seeds.order(settings.seed, "draw", name) for name in names
        )
        parallel = tf.data.AUTOTUNE
        if self._cache:
            decoded = self._cache.read(order)
        else:
            decode = _make_decoder(settings.image_size)
            decoded = _stream(settings, order).map(decode, parallel)

        def augment(pixels: Tensor, label: Tensor, key_hash: Tensor) -> tuple:
            pixels = _crop(pixels, settings.image_size, [crop, key_hash])
            pixels = tf.image.stateless_random_flip_left_right(
                pixels, [mirror, key_hash]
            )
            return pixels, tf.one_hot(label, settings.num_classes)

        batches = decoded.map(augment, parallel).batch(settings.batch_size)
        return batches.prefetch(parallel)


class _ImageCache:
    """A cache of all decoded images in one flat array.

    Raises:
      JobError: the shards do not match the settings.
    """

    def __init__(self, settings: InputSettings) -> None:
        pixels = np.empty(settings.num_decoded_bytes, np.uint8)
        shapes, rows, offset = [], [], 0
        records = tf.data.TFRecordDataset(list(settings.files)).map(_parse)
        decode = _make_decoder(settings.image_size)
        decoded = records.map(decode, tf.data.AUTOTUNE)
        for values, shape, row in decoded.map(_flatten).ragged_batch(
            _CACHE_BATCH_IMAGES
        ):
            end = offset + len(values.flat_values)
            if end > len(pixels):
                raise JobError(SHARD_MISMATCH)
            pixels[offset:end] = values.flat_values
            shapes.append(shape.numpy())
            rows.append(row.numpy())
            offset = end
        if sum(map(len, rows)) != settings.num_images:
            raise JobError(SHARD_MISMATCH)
        shape = np.concatenate(shapes)
        ends = np.cumsum(shape.prod(axis=1))
        begins = ends - shape.prod(axis=1)
        with tf.device(_CPU):  # GPU memory is for the model
            self._pixels = tf.constant(pixels)
            self._extents = tf.constant(np.column_stack([begins, ends, shape]))
            self._rows = tf.constant(np.concatenate(rows))

    def read(self, seed: int) -> tf.data.Dataset:
        """Return all images in random order, as (pixels, label, key hash)."""
        with tf.device(_CPU):
            draws = tf.random.stateless_uniform(
                [len(self._rows)], [seed, 0], None, None, tf.int64, alg="philox"
            )
            order = tf.argsort(draws, stable=True)

        def pick(number: Tensor) -> tuple:
            extent = self._extents[number]
            image = tf.reshape(self._pixels[extent[0] : extent[1]], extent[2:])
            label, key_hash = tf.unstack(self._rows[number])
            return image, label, key_hash

        return tf.data.Dataset.from_tensor_slices(order).map(pick)


def _stream(settings: InputSettings, seed: int) -> tf.data.Dataset:
    """Read and parse all records; shuffle the shards, then records in a buffer."""
    files = tf.data.Dataset.from_tensor_slices(sorted(settings.files))
    shuffled = files.shuffle(len(settings.files), seed % _MAX_SEED)
    records = shuffled.interleave(
        tf.data.TFRecordDataset,
        cycle_length=_NUM_INTERLEAVED_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    check_count = tf.data.experimental.assert_cardinality(settings.num_images)
    mixed = records.shuffle(_BUFFERED_IMAGES, seed % _MAX_SEED)
    return mixed.map(_parse, tf.data.AUTOTUNE).apply(check_count)


def _parse(record: Tensor) -> tuple:
    """Parse a record into JPEG bytes, label and hash of the file name.

    The hash is part of the seed of the image's crops and flips.
    """
    example = tf.io.parse_single_example(record, _FEATURES)
    key_hash = tf.strings.to_hash_bucket_fast(example["file_name"], 1 << 62)
    return example["image"], example["label"], key_hash


def _flatten(pixels: Tensor, label: Tensor, key_hash: Tensor) -> tuple:
    shape = tf.shape(pixels, tf.int64)
    return tf.reshape(pixels, [-1]), shape, tf.stack([label, key_hash])


def _make_decoder(image_size: int) -> Any:  # noqa: ANN401  # a function of tensors
    """Return a function that decodes JPEGs and shrinks large ones while decoding.

    The factor is the largest of 8, 4 and 2 that leaves the shorter side at least twice
    `image_size`.
    """

    def decode(data: Tensor, label: Tensor, key_hash: Tensor) -> tuple:
        shorter = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2])
        is_large_enough = [
            shorter // ratio >= _OVERSIZE * image_size for ratio in _SHRINKS[:-1]
        ]
        decoders = [
            lambda ratio=ratio: tf.io.decode_jpeg(
                data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            for ratio in _SHRINKS
        ]
        cases = list(zip(is_large_enough, decoders[:-1], strict=True))
        return tf.case(cases, default=decoders[-1]), label, key_hash

    return decode


def _crop(pixels: Tensor, image_size: int, seed: list) -> Tensor:
    """Crop a random box and resize it to `image_size` with antialiasing.

    Args:
      pixels: shape (height, width, 3).
      image_size: side of the result in pixels.
      seed: two integers.

    Returns:
      Float32, shape (image_size, image_size, 3).

    Source: Inception (Szegedy et al., CVPR 2015).
    """
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
