import io

import numpy as np
import pytest
from PIL import Image

from tests import making
from transforms.models import inference
from transforms.models.card import Preprocessing
from transforms.records import DataError

SETTINGS = Preprocessing(resize_px=48, crop_px=40)


def _by_pillow(data, resize_px, crop_px):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    shorter = min(image.size)
    size = [round(side * resize_px / shorter) for side in image.size]
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = ((side - crop_px) // 2 for side in size)
    return np.asarray(image.crop((left, top, left + crop_px, top + crop_px)))


@pytest.mark.parametrize(
    ("size", "resize_px"),
    [((96, 72), 48), ((72, 97), 48), ((30, 20), 48), ((500, 375), 48), ((48, 48), 48)],
    ids=["wide", "tall", "enlarged", "much smaller", "as it is"],
)
def test_preprocessing_agrees_with_pillow(size, resize_px):
    data = making.jpeg_bytes(3, size=size)
    found = inference.preprocess(data, Preprocessing(resize_px=resize_px, crop_px=40))
    expected = _by_pillow(data, resize_px, 40)
    assert found.shape == (40, 40, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(float) - expected).mean() < 1.5


def test_exif_rotated_image_is_upright():
    picture = making.picture(2)
    upright = inference.preprocess(making.encode(picture, quality=95), SETTINGS)
    turned = inference.preprocess(making.turned_jpeg(picture), SETTINGS)
    assert np.abs(upright.astype(float) - turned).mean() < 4


@pytest.mark.parametrize("make", making.CONVERSIONS.values(), ids=making.CONVERSIONS)
def test_unusual_images_become_rgb(make):
    found = inference.preprocess(make(making.picture(2)), SETTINGS)
    assert found.shape == (40, 40, 3)
    if make is making.greyscale_jpeg:
        assert (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file"),
        (b"GIF, it says", "not an image"),
        (making.jpeg_bytes()[:700], "truncated"),
        (making.encode(Image.new("L", (1, 60_000)), "PNG"), "over the bound"),
    ],
    ids=["empty", "text", "truncated", "strip"],
)
def test_invalid_images_are_data_errors(data, expected):
    with pytest.raises(DataError, match=expected):
        inference.preprocess(data, SETTINGS)


def test_batch_is_scaled_by_channel():
    pixels = np.zeros((2, 1, 1, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    settings = Preprocessing(
        resize_px=1, crop_px=1, mean=(10.0, 10.0, 20.0), std=(1.0, 2.0, 4.0)
    )
    batch = inference.make_batch(pixels, settings)
    assert batch.dtype == np.float32
    assert batch[1, 0, 0].tolist() == [0, 5, 2.5]


def test_batch_has_the_layout_of_the_card():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    settings = Preprocessing(
        resize_px=2, crop_px=2, channel_order="bgr", layout="channels_first"
    )
    batch = inference.make_batch(pixels, settings)
    assert batch.shape == (1, *inference.input_shape(settings)) == (1, 3, 2, 2)
    assert batch[0, 0].ravel().tolist() == [2, 5, 8, 11]
    assert batch.flags.c_contiguous
