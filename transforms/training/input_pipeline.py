"""Read shards into shuffled, augmented training batches with tf.data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from transforms import seeds
from transforms.records import JobError

Tensor: TypeAlias = Any  # TensorFlow has no types

MAX_CACHED_BYTES = 1 << 30  # twice as much while the cache is filled
_BUFFERED_IMAGES = 8192
_NUM_INTERLEAVED_SHARDS = 8
_CACHE_BATCH_IMAGES = 256
_SHRINKS = (8, 4, 2, 1)  # factors that JPEG decoders can divide a side by
# Side of the square copy of an image, as a multiple of the model's input: a crop of a
# quarter of the area then needs no upscaling.
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
      num_images: number of images in the shards.
      image_size: side of the model's input in pixels.
      num_classes: number of labels.
      batch_size: images per batch; the last batch of an epoch may be smaller.
      seed: random seed for image order, crops and flips.
    """

    files: Sequence[str]
    num_images: int
    image_size: int
    num_classes: int
    batch_size: int
    seed: int

    @property
    def copy_px(self) -> int:
        """The side in pixels of the square copies that crops are taken from."""
        return self.image_size * _OVERSIZE

    @property
    def num_copied_bytes(self) -> int:
        """The total size of the copies of all images in bytes."""
        return self.num_images * self.copy_px**2 * 3


class _Images(NamedTuple):
    """Tensors of several images.

    Attributes:
      pixels: uint8, shape (images, copy_px, copy_px, 3), resized regardless of aspect
        ratio.
      labels: int64, shape (images,).
      key_hashes: int64, shape (images,), hashes of the file names.
      aspects: float32, shape (images,), width divided by height before resizing.
    """

    pixels: Tensor
    labels: Tensor
    key_hashes: Tensor
    aspects: Tensor


class InputPipeline:
    """Provides shuffled, augmented batches of images and one-hot labels.

    Images are float32, shape (batch, image_size, image_size, 3), 0 to 255; labels are
    float32, shape (batch, num_classes). If resized copies of all images fit in
    `max_cached_bytes`, they are cached in memory; otherwise images are decoded in every
    epoch.

    Raises:
      JobError: the copies are cached and their number differs from the settings.
    """

    def __init__(
        self, settings: InputSettings, *, max_cached_bytes: int = MAX_CACHED_BYTES
    ) -> None:
        self._settings = settings
        is_small = settings.num_copied_bytes <= max_cached_bytes
        self._cache = _fill_cache(settings) if is_small else None

    def make_epoch(self, number: int) -> tf.data.Dataset:
        """Return the batches of epoch `number`, counted from 1."""
        settings = self._settings
        order, crop = (
            seeds.order(settings.seed, "draw", f"{name} {number}")
            for name in ("epoch", "crop")
        )
        if self._cache:
            batches = _read_cache(self._cache, settings, order=order, crop=crop)
        else:
            batches = _stream(settings, order=order, crop=crop)
        return batches.prefetch(tf.data.AUTOTUNE)


def _read_cache(
    cache: _Images, settings: InputSettings, *, order: int, crop: int
) -> tf.data.Dataset:
    def augment(numbers: Tensor) -> tuple:
        others = (tf.gather(column, numbers) for column in cache[1:])
        return _augment(_Images(cache.pixels, *others), numbers, crop, settings)

    numbers = tf.data.Dataset.from_tensor_slices(_shuffle(settings, order))
    return numbers.batch(settings.batch_size).map(augment, tf.data.AUTOTUNE)


def _shuffle(settings: InputSettings, seed: int) -> Tensor:
    """Return the positions of all images in random order, int, shape (images,)."""
    with tf.device(_CPU):
        draws = tf.random.stateless_uniform(
            [settings.num_images], [seed, 0], None, None, tf.int64, alg="philox"
        )
        return tf.argsort(draws, stable=True)


def _fill_cache(settings: InputSettings) -> _Images:
    """Decode all images into memory.

    Raises:
      JobError: the shards do not contain `settings.num_images` images.
    """
    side = settings.copy_px
    pixels = np.empty((settings.num_images, side, side, 3), np.uint8)
    columns = []
    end = 0
    records = tf.data.TFRecordDataset(list(settings.files))
    decoded = records.map(_make_decoder(side), tf.data.AUTOTUNE)
    for batch, *others in decoded.batch(_CACHE_BATCH_IMAGES):
        start, end = end, end + len(batch)
        if end > settings.num_images:
            raise JobError(SHARD_MISMATCH)
        pixels[start:end] = batch
        columns.append([other.numpy() for other in others])
    if end < settings.num_images:
        raise JobError(SHARD_MISMATCH)
    with tf.device(_CPU):  # GPU memory is for the model
        others = (np.concatenate(column) for column in zip(*columns, strict=True))
        return _Images(tf.constant(pixels), *map(tf.constant, others))


def _stream(settings: InputSettings, *, order: int, crop: int) -> tf.data.Dataset:
    """Return batches of all images, shuffled by shard and within a bounded buffer.

    Args:
      settings: settings of the pipeline.
      order: seed of the order of the images.
      crop: seed of the crops.
    """

    def augment(*fields: Tensor) -> tuple:
        images = _Images(*fields)
        return _augment(images, tf.range(tf.shape(images.labels)[0]), crop, settings)

    seed = order % _MAX_SEED
    files = tf.data.Dataset.from_tensor_slices(sorted(settings.files))
    shuffled = files.shuffle(len(settings.files), seed)
    records = shuffled.interleave(
        tf.data.TFRecordDataset,
        cycle_length=_NUM_INTERLEAVED_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    check_count = tf.data.experimental.assert_cardinality(settings.num_images)
    mixed = records.shuffle(_BUFFERED_IMAGES, seed)
    decode = _make_decoder(settings.copy_px)
    images = mixed.map(decode, tf.data.AUTOTUNE).apply(check_count)
    return images.batch(settings.batch_size).map(augment, tf.data.AUTOTUNE)


def _make_decoder(side: int) -> Any:
    """Return a function that parses a record and resizes its image to a square.

    The decoder shrinks an image by a factor of up to 8, as long as its shorter side
    stays at least `side`. The function returns the fields of `_Images` for one image.
    """

    def decode(record: Tensor) -> tuple:
        example = tf.io.parse_single_example(record, _FEATURES)
        data = example["image"]
        shape = tf.io.extract_jpeg_shape(data)
        shorter = tf.reduce_min(shape[:2])
        decoders = [
            lambda ratio=ratio: tf.io.decode_jpeg(
                data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            for ratio in _SHRINKS
        ]
        is_large_enough = [shorter // ratio >= side for ratio in _SHRINKS[:-1]]
        cases = list(zip(is_large_enough, decoders[:-1], strict=True))
        pixels = tf.case(cases, default=decoders[-1])
        resized = tf.image.resize(pixels, [side, side], antialias=True)
        rounded = tf.saturate_cast(tf.round(resized), tf.uint8)
        square = tf.ensure_shape(rounded, [side, side, 3])
        key_hash = tf.strings.to_hash_bucket_fast(example["file_name"], 1 << 62)
        aspect = tf.cast(shape[1] / shape[0], tf.float32)
        return square, example["label"], key_hash, aspect

    return decode


def _augment(
    images: _Images, numbers: Tensor, seed: int, settings: InputSettings
) -> tuple:
    """Crop a random box of each image, flip half of them, and resize to the input size.

    Args:
      images: `pixels` may contain more images than the other fields.
      numbers: shape (batch,), the position of each image in `images.pixels`.
      seed: seed of the epoch.
      settings: settings of the pipeline.

    Returns:
      Images, float32, shape (batch, image_size, image_size, 3), and one-hot labels,
      float32, shape (batch, num_classes).
    """
    boxes = choose_boxes(images.key_hashes, images.aspects, seed)
    side = settings.image_size
    crops = tf.image.crop_and_resize(
        images.pixels, boxes, tf.cast(numbers, tf.int32), [side, side]
    )
    return crops, tf.one_hot(images.labels, settings.num_classes)


def choose_boxes(key_hashes: Tensor, aspects: Tensor, seed: int) -> Tensor:
    """Choose a random crop box and flip for each image.

    A box depends only on the seed and the image's file name. The boxes of flipped
    images run from right to left.

    Args:
      key_hashes: int64, shape (images,), hashes of the file names.
      aspects: float32, shape (images,), width divided by height.
      seed: seed of the epoch.

    Returns:
      Float32, shape (images, 4): top, left, bottom and right, as fractions of the
      image's height and width.

    Source: Inception crops (Szegedy et al., CVPR 2015), with the ranges `CROP_AREA`
      and `CROP_RATIO`.
    """
    draws = _draw(key_hashes, seed, 5)
    area = CROP_AREA[0] + draws[0] * (CROP_AREA[1] - CROP_AREA[0])
    low, high = np.log(CROP_RATIO)
    ratio = tf.exp(low + draws[1] * (high - low))  # width divided by height
    width = tf.minimum(tf.sqrt(area * ratio / aspects), 1.0)
    height = tf.minimum(tf.sqrt(area / ratio * aspects), 1.0)
    left, top = draws[2] * (1 - width), draws[3] * (1 - height)
    is_flipped = draws[4] < 0.5
    begin, end = (
        left + tf.where(is_flipped, width, 0.0),
        left + tf.where(is_flipped, 0.0, width),
    )
    return tf.stack([top, begin, top + height, end], axis=1)


def _draw(key_hashes: Tensor, seed: int, count: int) -> list[Tensor]:
    """Draw `count` numbers from 0 up to 1 for each image, each of shape (images,).

    Source: SplitMix64 (Steele et al., OOPSLA 2014).
    """
    state = tf.cast(key_hashes, tf.uint64) ^ tf.constant(seed, tf.uint64)
    draws = []
    for _ in range(count):
        state += tf.constant(0x9E3779B97F4A7C15, tf.uint64)
        mixed = state
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed ^= tf.bitwise.right_shift(mixed, tf.constant(shift, tf.uint64))
            mixed *= tf.constant(factor, tf.uint64)
        mixed ^= tf.bitwise.right_shift(mixed, tf.constant(31, tf.uint64))
        top_bits = tf.bitwise.right_shift(mixed, tf.constant(40, tf.uint64))
        draws.append(tf.cast(top_bits, tf.float32) / (1 << 24))
    return draws
