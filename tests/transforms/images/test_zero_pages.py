import re

import pytest
from PIL import Image

from transforms.images import decode
from transforms.images.process import process
from transforms.images.settings import ImageSettings
from transforms.index import inspection
from transforms.records import DataError

PAGE = 4096


def with_zeros(data, num_bytes=PAGE):
    """Punch a hole of zeros into the middle of a file, between other bytes."""
    start = len(data) // 2 // PAGE * PAGE
    hole = b"\1" + bytes(num_bytes) + b"\1"
    return data[: start - 1] + hole + data[start + num_bytes + 1 :], start


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("num_bytes", [PAGE, 3 * PAGE])
def test_page_of_zeros_is_damage(
    encode, photograph, optimize, progressive, subsampling, num_bytes
):
    data, start = with_zeros(
        encode(
            photograph.resize((500, 375)),
            quality=98,
            optimize=optimize,
            progressive=progressive,
            subsampling=subsampling,
        ),
        num_bytes,
    )
    message = f"damaged: {num_bytes} zero bytes at byte {start} (an incomplete"
    with pytest.raises(DataError, match=re.escape(message)):
        process(data, ImageSettings(image_size=64))
    assert message in str(inspection.inspect(data))


def test_fewer_zeros_than_a_page_are_left_to_the_decoder(encode, photograph):
    decode.open_image(with_zeros(encode(photograph, quality=98), PAGE - 1)[0])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    ("mode", "subsampling"),
    [("RGB", "4:2:0"), ("RGB", "4:4:4"), ("L", "4:2:0"), ("CMYK", "4:4:4")],
)
@pytest.mark.parametrize("noisy_share", [0, 0.1, 0.3])
def test_flat_pictures_are_no_damage(
    encode, progressive, mode, subsampling, noisy_share
):
    width, height = 1500, 1400
    image = Image.new("RGB", (width, height), "white")
    noise = Image.effect_noise((width, int(height * noisy_share) or 1), 60)
    if noisy_share:
        image.paste(noise.convert("RGB"))
    num_with_zeros = 0
    for quality in (1, 50, 90, 100):
        data = encode(
            image.convert(mode),
            quality=quality,
            optimize=True,
            progressive=progressive,
            subsampling=subsampling,
        )
        num_with_zeros += bytes(PAGE) in data
        decode.open_image(data)
    assert num_with_zeros or progressive or noisy_share


@pytest.mark.parametrize("size", [(500, 375), (800, 600), (600, 599)])
def test_flat_pictures_of_common_sizes_are_no_damage(encode, size):
    for mode in ("RGB", "L", "CMYK"):
        image = Image.new(mode, size)
        for progressive in (False, True):
            data = encode(
                image, optimize=True, progressive=progressive, subsampling="4:4:4"
            )
            decode.open_image(data)


def test_zeros_outside_the_scans_are_no_damage(encode, photograph):
    thumbnail = encode(photograph.resize((80, 60)))
    data = encode(photograph, exif=b"Exif\0\0" + thumbnail + bytes(3 * PAGE))
    assert bytes(PAGE) in data
    decode.open_image(data + bytes(2 * PAGE))


def test_zeros_up_to_the_end_are_damage(encode, photograph):
    data = encode(photograph, quality=98)
    middle = len(data) // 2
    with pytest.raises(DataError, match="zero bytes at byte"):
        decode.open_image(data[:middle] + bytes(len(data) - middle))
