import hashlib

import pytest
from PIL import Image

from transforms.index.inspection import Inspection, inspect


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGB", "WEBP")],
)
def test_whole_file_is_described_without_a_problem(encode, mode, form):
    data = encode(Image.new(mode, (40, 30)), form)
    sha256 = hashlib.sha256(data).hexdigest()
    assert inspect(data) == Inspection(form, mode, 40, 30, sha256, "")


def test_truncated_file_keeps_its_header_and_names_the_problem(encode, photograph):
    inspection = inspect(encode(photograph)[:-200])
    assert inspection[:4] == ("JPEG", "RGB", *photograph.size)
    assert inspection.problem == "truncated image"


def test_file_that_is_no_image_has_a_hash_and_a_problem():
    sha256 = hashlib.sha256(b"text").hexdigest()
    assert inspect(b"text") == Inspection("", "", 0, 0, sha256, "not an image")
