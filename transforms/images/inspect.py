"""The bytes of a file → what they hold, and whether they can be decoded."""

import hashlib
from typing import NamedTuple

from transforms import records
from transforms.images import decode


class Inspection(NamedTuple):
    """What is known of a file after all of it has been decoded."""

    format: str  # JPEG, PNG, …; "" where it is none
    mode: str  # RGB, L, CMYK, … as stored
    width: int  # as stored, not turned by EXIF
    height: int
    sha256: str
    problem: str  # "" where there is none


def inspect(data: bytes) -> Inspection:
    """Look at one file; a bad one is a result, not an error."""
    form, mode, size, problem = "", "", (0, 0), ""
    try:
        image = decode.open_image(data)
        form, mode, size = str(image.format), image.mode, image.size
        decode.decode(image)
    except records.DataError as error:
        problem = str(error)
    return Inspection(
        form, mode, *size, sha256=hashlib.sha256(data).hexdigest(), problem=problem
    )
