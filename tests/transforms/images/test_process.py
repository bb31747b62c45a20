import concurrent.futures
import io
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests import making_jpegs
from transforms.images import process as process_module
from transforms.images import signatures
from transforms.images.process import process
from transforms.images.settings import RESIZE_MODES, ImageSettings
from transforms.records import DataError

SETTINGS = ImageSettings(image_size=64)


def opened(result):
    return Image.open(io.BytesIO(result.jpeg))


def difference(one, other):
    one, other = (np.asarray(image.convert("RGB"), np.int16) for image in (one, other))
    return np.abs(one - other).mean()


def with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_reported_size_is_that_of_the_file(encode, photograph, mode):
    settings = ImageSettings(image_size=64, resize_mode=mode)
    result = process(encode(photograph), settings)
    assert opened(result).size == (result.width, result.height)


def test_output_is_a_bare_rgb_jpeg(encode, photograph):
    data = encode(
        photograph,
        comment=b"hello",
        exif=with_orientation(1),
        icc_profile=b"profile" * 20,
        dpi=(300, 300),
        progressive=True,
    )
    for source in (data, encode(photograph.convert("L"), comment=b"hello")):
        image = opened(process(source, SETTINGS))
        assert (image.format, image.mode, image.layers) == ("JPEG", "RGB", 3)
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]
        assert [name for name, _ in image.applist] == ["APP0"]
        assert not {"comment", "exif", "icc_profile", "progressive", "dpi"} & set(
            image.info
        )


@pytest.mark.parametrize("size", [32, 64, 256, 600])
def test_result_is_that_of_pillow_within_a_level(encode, photograph, size):
    data = encode(photograph, quality=95)
    result = process(data, ImageSettings(image_size=size, jpeg_quality=100))
    plain = Image.open(io.BytesIO(data)).resize(
        (result.width, result.height), Image.Resampling.BICUBIC
    )
    file = io.BytesIO(encode(plain, quality=100, subsampling="4:2:0"))
    assert difference(opened(result), Image.open(file)) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["shorter_side", "center_crop", "squash", "none"])
def test_orientation_is_applied(encode, photograph, orientation, mode):
    data = encode(photograph, exif=with_orientation(orientation), quality=95)
    settings = ImageSettings(image_size=100, resize_mode=mode)
    result = process(data, settings)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = process(encode(upright, "PNG"), settings)
    assert (result.width, result.height) == (expected.width, expected.height)
    limit = 4 if mode == "none" and orientation == 1 else 2
    assert difference(ImageOps.exif_transpose(opened(result)), opened(expected)) < limit
    assert ("orientation" in result.conversions) == (orientation != 1)


def test_center_crop_shows_the_middle(encode):
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    settings = ImageSettings(image_size=50, resize_mode="center_crop")
    result = opened(process(encode(image, "PNG"), settings))
    colours = np.asarray(result).reshape(-1, 3)
    assert result.size == (50, 50)
    assert colours[:, 2].min() > 200
    assert colours[:, 0].max() < 60


def test_small_picture_is_kept_small_and_reported(encode, photograph):
    data = encode(photograph.resize((50, 40)))
    kept = process(data, SETTINGS)
    assert (kept.width, kept.height, kept.smaller_than_asked) == (50, 40, True)
    grown = process(data, ImageSettings(image_size=64, upscale=True))
    assert (grown.width, grown.height, grown.smaller_than_asked) == (80, 64, False)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_none_keeps_the_bytes_of_a_jpeg(encode, photograph, mode):
    data = encode(photograph.convert(mode), comment=b"hello", progressive=True)
    result = process(data, ImageSettings(resize_mode="none"))
    assert result.jpeg == data
    assert (result.width, result.height) == photograph.size


@pytest.mark.parametrize("kind", ["png", "cmyk", "orientation"])
def test_none_encodes_again_where_readers_stumble(encode, photograph, kind):
    data = {
        "png": encode(photograph, "PNG"),
        "cmyk": encode(photograph.convert("CMYK")),
        "orientation": encode(photograph, exif=with_orientation(3)),
    }[kind]
    result = process(data, ImageSettings(resize_mode="none"))
    image = opened(result)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", photograph.size)
    assert result.conversions == (kind,)


UNCOMMON = ("LOSSLESS", "ARITHMETIC", "PROGRESSIVE_ARITHMETIC")


@pytest.mark.parametrize("kind", UNCOMMON)
def test_none_encodes_jpegs_again_that_not_every_reader_decodes(kind):
    import tensorflow as tf

    data = getattr(making_jpegs, kind)
    result = process(data, ImageSettings(resize_mode="none"))
    assert result.jpeg != data
    assert signatures.is_common_jpeg(result.jpeg)
    pixels = tf.io.decode_jpeg(result.jpeg).numpy()
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels - np.array(making_jpegs.COLOUR, np.int16)).max() < 8
    assert process(data, ImageSettings(image_size=8)).jpeg


def test_none_finds_a_truncated_file(encode, photograph):
    with pytest.raises(DataError, match="truncated image"):
        process(encode(photograph)[:-500], ImageSettings(resize_mode="none"))


def test_first_picture_of_an_mpo_is_taken(encode, photograph):
    other = Image.new("RGB", photograph.size)
    data = encode(photograph, "MPO", save_all=True, append_images=[other])
    result = process(data, SETTINGS)
    assert result.conversions == ()
    assert difference(opened(result), opened(process(encode(photograph), SETTINGS))) < 1


def test_strip_that_would_grow_beyond_bounds_is_a_data_error(encode):
    data = encode(Image.new("L", (2, 3000)))
    with pytest.raises(DataError, match="2x3000 pixels would become one of 256x384000"):
        process(data, ImageSettings(upscale=True))


def test_bytes_are_the_same_on_every_run_and_thread(encode, photograph):
    files = [
        encode(photograph.resize((width, 150)), form)
        for width in range(100, 900, 100)
        for form in ("JPEG", "PNG")
    ]
    once = [process(data, SETTINGS) for data in files]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            again = pool.map(process, files, [SETTINGS] * len(files))
            assert list(again) == once


def test_scratch_file_elsewhere_gives_the_same_bytes(encode, photograph, monkeypatch):
    data = encode(photograph)
    expected = process(data, SETTINGS)
    monkeypatch.delattr(process_module.os, "memfd_create")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # with a file of its own
        assert pool.submit(process, data, SETTINGS).result() == expected


def test_large_image_before_leaves_nothing_in_the_scratch_file(encode, photograph):
    data = encode(photograph)
    expected = process(data, SETTINGS)
    process(encode(photograph), ImageSettings(image_size=1000, upscale=True))
    assert process(data, SETTINGS) == expected


def test_forked_process_has_a_scratch_file_of_its_own(encode, photograph):
    data = encode(photograph)
    expected = process(data, SETTINGS)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        images = pool.starmap(process, [(data, SETTINGS)] * 200)
    assert images == [expected] * 200


def test_no_file_is_left_open(encode, photograph):
    data = encode(photograph)
    process(data, SETTINGS)  # each thread keeps one file
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        process(data, SETTINGS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.real
def test_photographs_match_pillow_within_a_level():
    folder = Path(os.environ["SUBSETS_REAL_DATA"]) / "full_size"
    paths = sorted(folder.glob("*/*.JPEG"))
    assert len(paths) == 200
    settings = ImageSettings(jpeg_quality=100)
    for path in paths:
        result = process(path.read_bytes(), settings)
        plain = Image.open(path).convert("RGB")
        plain = plain.resize((result.width, result.height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        plain.save(file, "JPEG", quality=100, subsampling="4:2:0")
        assert difference(opened(result), Image.open(file)) < 1
