"""Convert an image file to the JPEG of the dataset.

The shard writer calls `process` from many threads. The function has no state; decoding,
resizing and encoding release the interpreter lock.
"""

import os
import tempfile
import threading
from typing import BinaryIO, NamedTuple

from cykooz_resizer import CropBox
from PIL import Image, ImageFile

from transforms import records
from transforms.images import decode, resize, signatures
from transforms.images.settings import (
    CHROMA,
    MAX_SIDE,
    ImageSettings,
    is_smaller_than_asked,
    target_size,
)


class ProcessedImage(NamedTuple):
    """A converted image: a JPEG file, its size in pixels and the conversions made."""

    jpeg: bytes
    width: int
    height: int
    conversions: tuple[str, ...]  # see decode.find_conversions
    smaller_than_asked: bool


def process(data: bytes, settings: ImageSettings) -> ProcessedImage:
    """Decode, resize and encode one image.

    Args:
      data: contents of the image file.
      settings: image size, resize mode and JPEG quality.

    Returns:
      An RGB JPEG without metadata; its bytes do not depend on the machine. With
      `resize_mode="none"`, upright RGB or greyscale JPEGs keep their original bytes.

    Raises:
      DataError: the data are not an image, are damaged, or the image is too large.
    """
    image = decode.open_image(data)
    orientation = decode.find_orientation(image)
    conversions = decode.find_conversions(image, orientation)
    lying = orientation >= 5  # width and height change places
    width, height = image.size[::-1] if lying else image.size
    size = target_size(width, height, settings)
    if settings.resize_mode == "none" and _is_plain(image, orientation, data):
        decode.decode(image)  # proves that it is whole
        jpeg = data
    else:
        _check_bounds(image.size, size)
        pixels = _resized(image, size[::-1] if lying else size, settings)
        jpeg = _encode(resize.turn_upright(pixels, orientation), settings)
    smaller = is_smaller_than_asked(*size, settings)
    return ProcessedImage(jpeg, *size, conversions, smaller)


def _is_plain(image: ImageFile.ImageFile, orientation: int, data: bytes) -> bool:
    """Return whether a file is an upright, common RGB or greyscale JPEG."""
    is_upright_rgb_or_grey = image.mode != "CMYK" and orientation == 1
    is_jpeg = image.format == "JPEG" and signatures.is_common_jpeg(data)
    return is_jpeg and is_upright_rgb_or_grey


def _check_bounds(original: tuple[int, int], size: tuple[int, int]) -> None:
    # A strip of 1 x 60000 pixels is within bounds until it is enlarged.
    width, height = size
    if width * height > decode.MAX_PIXELS or max(size) > MAX_SIDE:
        raise records.DataError(
            f"image of {original[0]}x{original[1]} pixels would become one of "
            f"{width}x{height}, over the bounds of {decode.MAX_PIXELS} pixels "
            f"and {MAX_SIDE} a side"
        )


def _resized(
    image: ImageFile.ImageFile, size: tuple[int, int], settings: ImageSettings
) -> Image.Image:
    box = CropBox(0, 0, *image.size)
    if settings.resize_mode == "center_crop":
        box = resize.middle_square(*image.size)
    shrink = min(box.width / size[0], box.height / size[1])
    pixels = decode.decode(image, shrink)
    if pixels.scale > 1:
        part = (box.left, box.top, box.width, box.height)
        box = CropBox(*(length / pixels.scale for length in part))
    return resize.resize(pixels.image, size, box)


def _encode(image: Image.Image, settings: ImageSettings) -> bytes:
    colour = image if image.mode == "RGB" else image.convert("RGB")
    file = _scratch_file()
    file.seek(0)
    colour.save(file, "JPEG", quality=settings.jpeg_quality, subsampling=CHROMA)
    return os.pread(file.fileno(), file.tell(), 0)


def _scratch_file() -> BinaryIO:
    """Return this thread's file to encode into.

    Pillow releases the interpreter lock only when it encodes into a real file. The file
    is reused, because creating one takes a sixth of the time of encoding.
    """
    if getattr(_scratch, "process", None) != os.getpid():  # a fork would share it
        _scratch.process = os.getpid()
        if hasattr(os, "memfd_create"):  # not on macOS
            descriptor = os.memfd_create("jpeg")
            _scratch.file = os.fdopen(descriptor, "w+b", buffering=0)
        else:
            _scratch.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # kept
    return _scratch.file


_scratch = threading.local()
