import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from cykooz_resizer import CropBox
from PIL import Image, ImageCms

from transforms.images import decode
from transforms.images.resize import resize
from transforms.records import DataError

RED = (200, 40, 30)


def png_chunk(kind, data):
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(*, width, height, bits, colour, pixels):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def bomb(width, height):
    return png(width=width, height=height, bits=8, colour=2, pixels=b"")


def without_adobe_marker(jpeg):
    start = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[start + 2 : start + 4])[0]
    return jpeg[:start] + jpeg[start + 2 + length :]


def pixels(data):
    return decode.decode(decode.open_image(data)).image


def conversions(data):
    image = decode.open_image(data)
    return decode.find_conversions(image, decode.find_orientation(image))


def difference(one, other):
    return np.abs(
        np.asarray(one.convert("RGB"), np.int16)
        - np.asarray(other.convert("RGB"), np.int16)
    ).mean()


@pytest.mark.parametrize(
    ("mode", "form", "decoded", "words"),
    [
        ("RGB", "JPEG", "RGB", ()),
        ("L", "JPEG", "L", ("greyscale",)),
        ("CMYK", "JPEG", "RGB", ("cmyk",)),
        ("RGB", "PNG", "RGB", ("png",)),
        ("L", "PNG", "L", ("greyscale", "png")),
        ("1", "PNG", "L", ("greyscale", "png")),
        ("LA", "PNG", "L", ("alpha", "greyscale", "png")),
        ("RGBA", "PNG", "RGB", ("alpha", "png")),
        ("P", "PNG", "RGB", ("palette", "png")),
        ("I;16", "PNG", "L", ("16bit", "greyscale", "png")),
        ("P", "GIF", "RGB", ("gif", "palette")),
        ("RGB", "BMP", "RGB", ("bmp",)),
        ("RGB", "WEBP", "RGB", ("webp",)),
        ("RGBA", "WEBP", "RGB", ("alpha", "webp")),
        ("RGB", "AVIF", "RGB", ("avif",)),
        ("RGBA", "AVIF", "RGB", ("alpha", "avif")),
    ],
)
def test_every_kind_is_told_and_decoded(encode, mode, form, decoded, words):
    image = Image.new("RGB", (40, 30), RED)
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(99)
    data = encode(image, form)
    assert conversions(data) == words
    assert pixels(data).mode == decoded
    assert pixels(data).size == (40, 30)


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_is_recognised_by_any_of_its_brands(encode, photograph, brand):
    data = encode(photograph, "AVIF", quality=95)
    data = data[:8] + brand + data[12:]
    assert difference(pixels(data), photograph) < 6


def test_first_picture_of_an_animated_avif_is_taken(encode, photograph):
    other = Image.new("RGB", photograph.size)
    data = encode(photograph, "AVIF", quality=95, save_all=True, append_images=[other])
    assert data[8:12] == b"avis"
    assert difference(pixels(data), photograph) < 6


def test_avif_orientation_is_that_of_its_container(encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (40, 30), RED), "AVIF", exif=exif)
    image = decode.open_image(data)
    assert (image.size, decode.find_orientation(image)) == ((40, 30), 6)


def test_progressive_jpeg_needs_no_conversion(encode, photograph):
    data = encode(photograph, progressive=True)
    assert conversions(data) == ()
    assert difference(pixels(data), photograph) < 6


def test_icc_profile_is_told_and_dropped(encode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(Image.new("RGB", (8, 8), RED), icc_profile=profile)
    assert conversions(data) == ("icc",)
    assert pixels(data).info == {}


@pytest.mark.parametrize("adobe", [True, False], ids=["adobe", "plain"])
def test_cmyk_keeps_its_colours(encode, adobe):
    image = Image.new("RGB", (64, 48), RED)
    image.paste((20, 160, 60), (32, 0, 64, 48))
    data = encode(image.convert("CMYK"), quality=100)
    if not adobe:  # where ink is stored as it is, not inverted
        inverted = image.convert("CMYK").point(
            [255 - level for level in range(256)] * 4
        )
        data = without_adobe_marker(encode(inverted, quality=100))
    assert difference(pixels(data), image) < 4


def test_alpha_is_dropped_not_blended(encode):
    clear = Image.new("RGBA", (8, 8), (*RED, 0))
    assert pixels(encode(clear, "PNG")).getpixel((3, 3)) == RED


def test_transparent_palette_colour_is_kept(encode):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    for transparency in (1, b"\x80\x00"):
        data = encode(image, "PNG", transparency=transparency)
        assert conversions(data) == ("alpha", "palette", "png")
        assert pixels(data).getpixel((3, 3)) == RED


@pytest.mark.parametrize(
    ("colour", "samples", "expected"),
    [
        (0, [0x00FF, 0x0100, 0x80FF, 0xFFFF], [0, 1, 128, 255]),
        (2, [0x0100, 0x7F00, 0xFF00], [(1, 127, 255)]),
        (4, [0x0200, 0x0000, 0xFE00, 0xFFFF], [2, 254]),
    ],
    ids=["grey", "rgb", "grey_alpha"],
)
def test_sixteen_bits_become_their_high_byte(colour, samples, expected):
    row = b"\0" + b"".join(struct.pack(">H", sample) for sample in samples)
    data = png(width=len(expected), height=1, bits=16, colour=colour, pixels=row)
    assert "16bit" in conversions(data)
    assert ("greyscale" in conversions(data)) == (colour != 2)
    image = pixels(data)
    found = [image.getpixel((x, 0)) for x in range(len(expected))]
    grey = [(level,) * 3 for level in expected] if colour == 4 else expected
    assert found in (expected, grey)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>", "not an image"),
        (b"\xff\xd8\xff", "broken header"),
        (b"RIFF....WAVEfmt ", "broken header: not a WEBP file"),
        (bomb(30000, 30000), "image of 30000x30000 pixels is over the bound"),
        (bomb(0, 10), "broken header"),
    ],
    ids=["empty", "text", "magic_only", "sound", "bomb", "zero_size"],
)
def test_what_is_no_image_is_a_data_error(data, reason):
    with pytest.raises(DataError, match=reason):
        decode.open_image(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_file_is_a_data_error(encode, photograph, form, kept):
    data = encode(photograph, form)
    with pytest.raises(DataError):
        pixels(data[: int(kept * len(data))])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [2, 100, 10000])
def test_truncated_jpeg_is_noticed_at_a_reduced_scale(
    encode, photograph, progressive, missing
):
    data = encode(photograph, progressive=progressive)[:-missing]
    with pytest.raises(DataError, match=r"^truncated image$"):
        decode.decode(decode.open_image(data), shrink=32)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF"])
def test_rotten_bytes_raise_nothing_but_data_errors(encode, photograph, form):
    data = encode(photograph.resize((40, 30)), form)
    reasons = set()
    for position in range(0, min(len(data), 700)):
        for value in (0x00, 0xFF):
            rotten = bytearray(data)
            rotten[position] = value
            try:
                conversions(bytes(rotten))
                pixels(bytes(rotten))
            except DataError as error:
                reasons.add(str(error))
    assert len(reasons) > 1
    assert not [reason for reason in reasons if " at 0x" in reason]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pytest undoes the module's own
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03\0\0\xff\xff",
        b"Exif\0\0garbage",
    ],
    ids=["cut_short", "no_header"],
)
def test_damaged_exif_is_ignored_silently(encode, exif):
    data = encode(Image.new("RGB", (8, 8)), exif=exif)
    assert decode.find_orientation(decode.open_image(data)) == 1
    script = (
        "import sys; from transforms.images import decode;"
        "image = decode.open_image(sys.stdin.buffer.read());"
        "decode.find_orientation(image); decode.decode(image)"
    )
    root = Path(decode.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        input=data,
        cwd=root,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_orientation_out_of_range_is_none(encode):
    exif = Image.Exif()
    exif[0x0112] = 9
    data = encode(Image.new("RGB", (8, 8)), exif=exif)
    assert decode.find_orientation(decode.open_image(data)) == 1


@pytest.mark.parametrize(
    ("shrink", "scale"), [(1, 1), (7.9, 1), (8, 2), (16, 4), (32, 8), (99, 8)]
)
def test_scale_keeps_four_times_the_size_needed(encode, photograph, shrink, scale):
    image = decode.open_image(encode(photograph))
    decoded = decode.decode(image, shrink)
    assert decoded.scale == scale
    assert decoded.image.size == (-(-803 // scale), -(-601 // scale))


def test_png_is_always_decoded_in_full(encode, photograph):
    image = decode.open_image(encode(photograph, "PNG"))
    assert decode.decode(image, shrink=32).scale == 1


def reduced_difference(data, shrink):
    """Mean difference between a reduced and a full decode, after the resize."""
    full = decode.decode(decode.open_image(data)).image
    reduced = decode.decode(decode.open_image(data), shrink)
    width, height = full.size
    size = (round(width / shrink), round(height / shrink))
    box = CropBox(0, 0, width / reduced.scale, height / reduced.scale)
    return difference(
        resize(reduced.image, size, box),
        resize(full, size, CropBox(0, 0, width, height)),
    )


@pytest.mark.parametrize("shrink", [8.1, 16.1, 32.1])
def test_reduced_decode_differs_by_less_than_a_level(encode, photograph, shrink):
    assert 0 < reduced_difference(encode(photograph, quality=92), shrink) < 1


@pytest.mark.real
@pytest.mark.parametrize("shrink", [8.01, 16.01, 32.01])
def test_reduced_decode_of_photographs_differs_by_less_than_a_level(shrink):
    folder = Path(os.environ["SUBSETS_REAL_DATA"]) / "full_size"
    files = [path.read_bytes() for path in sorted(folder.glob("*/*.JPEG"))]
    large = [
        data for data in files if min(Image.open(io.BytesIO(data)).size) >= 16 * shrink
    ]
    assert large
    assert max(reduced_difference(data, shrink) for data in large) < 1
