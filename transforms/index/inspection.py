"""Inspect image files: format, mode, size, hash, and whether they decode."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from transforms import records, storage
from transforms.images import decode
from transforms.images.read import (
    CoalescedReader,
    PlacedRef,
    ReadImage,
    read_image_bytes,
)
from transforms.prefetch import map_in_order
from transforms.records import DataError

# Images whose adjacent bytes are read together, and images in flight: enough to keep
# all threads busy, few enough to hold only tens of megabytes.
WINDOW_IMAGES = 128
_MAX_IN_FLIGHT = 256


class Inspection(NamedTuple):
    """The properties of an image file, and the problem if it cannot be decoded."""

    format: str  # JPEG, PNG, …; "" if it is not an image
    mode: str  # RGB, L, CMYK, … as stored
    width: int  # as stored, before EXIF rotation
    height: int
    sha256: str  # hexadecimal; "" if the bytes cannot be read
    problem: str  # "" if there is none


def inspect(data: bytes) -> Inspection:
    """Decode an image file and return its properties and any decoding problem."""
    image_format, mode, size, problem = "", "", (0, 0), ""
    try:
        image = decode.open_image(data)
        image_format, mode, size = str(image.format), image.mode, image.size
        decode.decode(image)
    except records.DataError as error:
        problem = str(error)
    return Inspection(
        image_format,
        mode,
        *size,
        sha256=hashlib.sha256(data).hexdigest(),
        problem=problem,
    )


def inspect_image(read: ReadImage) -> Inspection:
    """Read and inspect one image; report a `DataError` in the result."""
    try:
        data = read()
    except DataError as error:
        return Inspection("", "", 0, 0, "", str(error))
    return inspect(data)


def inspect_all(
    images: Sequence[PlacedRef], pool: ThreadPoolExecutor
) -> Iterator[Inspection]:
    """Yield the inspections of images in order, with a bounded number in flight."""
    reader = CoalescedReader()
    windows = (
        reader.begin(images[start : start + WINDOW_IMAGES])
        for start in range(0, len(images), WINDOW_IMAGES)
    )
    inspections = (
        pool.submit(inspect_image, read) for reads in windows for read in reads
    )
    try:
        yield from map_in_order(inspections, num_ahead=_MAX_IN_FLIGHT)
    finally:
        reader.close()


def begin(roots: Sequence[str]) -> Callable[[Sequence[PlacedRef]], list[Inspection]]:
    """Return the function with which a child process inspects images.

    Args:
      roots: folders of the inputs.
    """
    num_readers = storage.num_readers(1, roots)
    pool = ThreadPoolExecutor(num_readers)

    def work(images: Sequence[PlacedRef]) -> list[Inspection]:
        if num_readers > 1:
            return list(inspect_all(images, pool))
        return [inspect_image(partial(read_image_bytes, *image)) for image in images]

    return work
