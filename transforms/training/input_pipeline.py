"""TFRecord shards of a split → an epoch's batches of cropped and mirrored images.

shards ── parse ── decode ── crop, mirror ── batch
           │          └─ kept in memory where that is small: then in any order
           └─ else read again each epoch: shards in any order, then a bounded buffer

What an image looks like in an epoch is decided by (seed, epoch, its key) alone, the
order by (seed, epoch): a run that goes on at an epoch sees what it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms import seeds
from transforms.records import JobError

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
