import numpy as np
import pytest

from tests import making
from transforms.archives import tfrecords
from transforms.models.loaders.tensorflow_start import import_tensorflow
from transforms.records import JobError, Record
from transforms.training.input_pipeline import InputPipeline, InputSettings

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
        sizes=np.array(SIZES),
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


@pytest.mark.parametrize("image_size", [3, 5, 8, 30])
def test_decoded_bytes_agree_with_resized_images(settings, image_size):
    small = replaced(settings, image_size=image_size)
    InputPipeline(small)  # fills its cache exactly, or fails
    whole = sum(width * height * 3 for width, height in SIZES)
    assert (small.num_decoded_bytes == whole) == (image_size == 30)


@pytest.mark.parametrize(
    "sizes",
    [SIZES[:-1], [*SIZES, (50, 50)], [(9, 9)] * NUM_IMAGES],
    ids=["more images", "fewer images", "larger images"],
)
def test_shards_of_another_manifest_are_an_error(settings, sizes):
    with pytest.raises(JobError, match=r"pipelines\.verify"):
        InputPipeline(replaced(settings, sizes=np.array(sizes)))
