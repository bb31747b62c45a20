import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import making
from transforms.archives import tfrecords
from transforms.models.loaders.tensorflow_start import import_tensorflow
from transforms.records import JobError, Record
from transforms.training.input_pipeline import (
    CROP_AREA,
    CROP_RATIO,
    InputPipeline,
    InputSettings,
    choose_boxes,
)

import_tensorflow()


NUM_IMAGES, NUM_CLASSES = 23, 4
SIZES = [(40 + 3 * n, 60 - n) for n in range(NUM_IMAGES)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> InputSettings:
    """Two shards of images of many sizes."""
    folder = tmp_path_factory.mktemp("shards")
    records = [
        tfrecords.encode_record(
            Record(
                key=f"n02088364_{n}",
                image=making.jpeg_bytes(n, size=size),
                label=n % NUM_CLASSES,
                fine_label=-1,
                wnid="n02088364",
            )
        )[0]
        for n, size in enumerate(SIZES)
    ]
    shards = (folder / "a", folder / "b")
    for number, shard in enumerate(shards):
        shard.write_bytes(b"".join(map(tfrecords.frame, records[number::2])))
    return InputSettings(
        files=[str(shard) for shard in shards],
        num_images=NUM_IMAGES,
        image_size=8,
        num_classes=NUM_CLASSES,
        batch_size=5,
        seed=0,
    )


def read(pipeline: InputPipeline, epoch: int) -> list[tuple[bytes, int]]:
    """Return pixels and label of every image, in order."""
    images = []
    for pixels, labels in pipeline.make_epoch(epoch).as_numpy_iterator():
        assert pixels.shape[1:] == (8, 8, 3)
        assert np.all(labels.sum(axis=1) == 1)
        assert pixels.min() >= 0
        assert pixels.max() < 255.5
        images += [
            (p.tobytes(), int(c)) for p, c in zip(pixels, labels.argmax(1), strict=True)
        ]
    return images


def replaced(settings: InputSettings, **changes: object) -> InputSettings:
    return InputSettings(**{**vars(settings), **changes})


@pytest.fixture(scope="module", params=[True, False], ids=["cached", "streamed"])
def pipeline(request, settings) -> InputPipeline:
    return InputPipeline(settings, max_cached_bytes=(1 << 20) * request.param)


def test_epoch_contains_every_image_once(pipeline):
    images = read(pipeline, 1)
    assert len(set(images)) == NUM_IMAGES
    counts = np.bincount([label for _, label in images])
    assert counts.tolist() == [6, 6, 6, 5]


def test_epochs_are_reproducible_and_differ(pipeline):
    first, second = read(pipeline, 1), read(pipeline, 2)
    assert read(pipeline, 1) == first
    assert not set(first) & set(second)  # other crops
    assert [label for _, label in first] != [label for _, label in second]


def test_crops_do_not_depend_on_the_cache(settings):
    cached, streamed = (
        InputPipeline(settings, max_cached_bytes=n) for n in (1 << 20, 0)
    )
    assert sorted(read(cached, 3)) == sorted(read(streamed, 3))


def test_seeds_differ(settings):
    other = InputPipeline(replaced(settings, seed=1))
    assert not set(read(InputPipeline(settings), 1)) & set(read(other, 1))


def test_the_last_batch_may_be_smaller(settings):
    batches = InputPipeline(settings).make_epoch(1).as_numpy_iterator()
    assert [len(pixels) for pixels, _ in batches] == [5, 5, 5, 5, 3]


def test_half_of_the_images_are_flipped_and_crops_cover_their_range(tmp_path):
    """The red channel of an image grows to the right, the green one downwards."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.uint8(0)), axis=2)
    image = making.encode(Image.fromarray(pixels))
    shard = tmp_path / "shard"
    records = [
        tfrecords.encode_record(
            Record(key=f"k_{n}", image=image, label=0, fine_label=-1, wnid="n02088364")
        )[0]
        for n in range(400)
    ]
    shard.write_bytes(b"".join(map(tfrecords.frame, records)))
    pipeline = InputPipeline(
        InputSettings(
            files=[str(shard)],
            num_images=400,
            image_size=16,
            num_classes=1,
            batch_size=400,
            seed=0,
        )
    )
    (crops, _), *_ = pipeline.make_epoch(1).as_numpy_iterator()
    red, green = crops[:, 8, :, 0], crops[:, :, 8, 1]
    width, height = ((x[:, -1] - x[:, 0]) / 255 for x in (red, green))
    assert 0.4 < np.mean(width < 0) < 0.6
    assert height.min() > 0.4
    area = np.abs(width) * height
    assert CROP_AREA[0] - 0.05 < area.min() < 0.3
    assert 0.8 < area.max() < CROP_AREA[1] + 0.05
    assert 0.55 < area.mean() < 0.7
    left = np.minimum(red[:, 0], red[:, -1]) / 255 / (1 - np.abs(width) + 1e-3)
    assert 0.4 < left.mean() < 0.6


def test_crops_keep_the_shape_of_objects():
    """A box of a wide image is as wide as it is high, on average, in its own pixels."""
    key_hashes = np.arange(4000) * 7919
    for aspect in (1 / 3, 1, 3):
        boxes = choose_boxes(key_hashes, np.full(4000, aspect, np.float32), 5).numpy()
        height, width = boxes[:, 2] - boxes[:, 0], np.abs(boxes[:, 3] - boxes[:, 1])
        assert boxes.min() > -1e-6
        assert boxes.max() < 1 + 1e-6
        inside = (height < 0.999) & (width < 0.999)
        ratio = (width * aspect / height)[inside]
        assert CROP_RATIO[0] - 1e-3 < ratio.min() < ratio.max() < CROP_RATIO[1] + 1e-3
        if aspect == 1:
            assert np.log(ratio).mean() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("max_cached_bytes", [1 << 20, 0])
@pytest.mark.parametrize("num_images", [NUM_IMAGES - 1, NUM_IMAGES + 1])
def test_shards_of_another_manifest_are_an_error(
    settings, num_images, max_cached_bytes
):
    other = replaced(settings, num_images=num_images)
    with pytest.raises((JobError, tf.errors.OpError)):
        read(InputPipeline(other, max_cached_bytes=max_cached_bytes), 1)
