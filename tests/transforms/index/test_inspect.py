import hashlib

import pytest
from PIL import Image

from tests import making
from transforms.index.inspection import Inspection, inspect


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGB", "WEBP")],
)
def test_whole_file_is_described_without_a_problem(mode, image_format):
    data = making.encode(Image.new(mode, (40, 30)), image_format)
    sha256 = hashlib.sha256(data).hexdigest()
    assert inspect(data) == Inspection(image_format, mode, 40, 30, sha256, "")


def test_truncated_file_keeps_its_header_and_names_the_problem():
    picture = making.picture(2)
    inspection = inspect(making.encode(picture)[:-200])
    assert inspection[:4] == ("JPEG", "RGB", *picture.size)
    assert inspection.problem == "truncated image"


def test_file_that_is_no_image_has_a_hash_and_a_problem():
    sha256 = hashlib.sha256(b"text").hexdigest()
    assert inspect(b"text") == Inspection("", "", 0, 0, sha256, "not an image")
