import gzip
import io
import json
import tarfile
import zipfile

import pytest

from tests import making, making_jpegs
from transforms.images import decode, signatures
from transforms.records import DataError

UNSUPPORTED = "{}: not supported; convert it to JPEG or PNG"
PICTURES = ("TIFF", "JPEG2000", "ICO", "PPM", "DDS")
NAMES = {"JPEG2000": "JPEG 2000", "PPM": "Netpbm (PPM)"}


def reason(data):
    with pytest.raises(DataError) as raised:
        decode.open_image(data)
    return str(raised.value)


@pytest.mark.parametrize("form", PICTURES)
def test_picture_of_a_format_that_is_not_read_is_named(form):
    data = making.encode(making.picture(), form)
    assert reason(data) == UNSUPPORTED.format(f"{NAMES.get(form, form)} image")


def iso_media(brand, *compatible):
    brands = brand + bytes(4) + b"".join(compatible)
    return (8 + len(brands)).to_bytes(4) + b"ftyp" + brands + bytes(64)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (iso_media(b"heic", b"mif1"), "HEIC"),
        (iso_media(b"mif1", b"heic"), "HEIF"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"II\xbc\x01", "JPEG XR"),
        (b"\xff\x4f\xff\x51\0", "JPEG 2000"),
        (b"II+\0\x08\0", "TIFF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n<svg width="9">', "SVG"),
    ],
)
def test_picture_is_named_by_its_first_bytes(data, name):
    assert reason(data) == UNSUPPORTED.format(f"{name} image")


def tar_of_one():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a.JPEG"))
    return file.getvalue()


def zip_of_one():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.JPEG", b"a")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\n<!DOCTYPE HTML><title>404</title>", "HTML text, e.g. an error page"),
        (b"<html><body>gone</body></html>", "HTML text, e.g. an error page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "XML text"),
        (json.dumps({"error": "quota"}).encode(), "JSON text"),
        (b"%PDF-1.7\n", "a PDF document"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer; fetch the file with git lfs pull",
        ),
        (b"\x28\xb5\x2f\xfd\0", "a Zstandard file"),
        (gzip.compress(b"a", mtime=0), "a gzip file"),
        (tar_of_one(), "a tar archive"),
        (zip_of_one(), "a zip archive"),
        (iso_media(b"isom", b"mp42"), "a video"),
        (bytes(3000), "only zero bytes"),
        (b"\r\n" + making.jpeg_bytes(), "2 bytes before the start of a JPEG"),
    ],
)
def test_file_that_is_no_picture_is_named(data, name):
    assert reason(data).startswith(f"not an image: {name}")


@pytest.mark.parametrize(
    "data",
    [b"this is no image", b"P9 ", b"\0\0", b"ftyp", b"\0\0\0\x10ftyp", b"<p>", b"{"],
)
def test_unknown_bytes_are_no_image(data):
    assert reason(data).startswith("not an image")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"bits": 12, "marker": 0xC1}, "12-bit JPEG"),
        ({"bits": 16, "marker": 0xC3}, "16-bit JPEG"),
        ({"marker": 0xF7}, "JPEG-LS image"),
        ({"marker": 0xC5}, "hierarchical JPEG"),
        ({"marker": 0xCD}, "hierarchical JPEG"),
        ({"height": 0}, "JPEG without its height in the header"),
    ],
)
def test_jpeg_of_a_kind_that_is_not_read_is_named(change, kind):
    assert reason(making_jpegs.change_frame(**change)) == UNSUPPORTED.format(kind)


def test_kinds_of_jpeg_are_told_apart_whatever_precedes_the_frame():
    plain = making.jpeg_bytes(exif=making.GIANT_EXIF, comment=b"\xff\xc3" * 50)
    padded = plain.replace(b"\xff\xc0", b"\xff\xff\xff\xc0", 1)
    for data in (plain, padded, making.jpeg_bytes(progressive=True)):
        assert signatures.is_common_jpeg(data)
    uncommon = (
        making_jpegs.LOSSLESS,
        making_jpegs.ARITHMETIC,
        making_jpegs.PROGRESSIVE_ARITHMETIC,
        plain[:100],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0",
        b"",
    )
    for data in uncommon:
        assert not signatures.is_common_jpeg(data)
