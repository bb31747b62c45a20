"""The bytes of a file → what they hold, and whether they can be decoded."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from transforms import records, storage
from transforms.images import decode
from transforms.images.read import (
    CoalescedReader,
    PlacedRef,
    ReadImage,
    read_image_bytes,
)
from transforms.prefetch import map_in_order
from transforms.records import DataError, ImageRef


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


# Images whose neighbours are sought among each other, and how many may wait: enough
# that no thread idles, few enough that their bytes are some tens of megabytes.
WINDOW_IMAGES = 128
_MAX_WAITING = 256


def inspect_image(read: ReadImage) -> Inspection:
    """Read an image once and say what it is."""
    try:
        data = read()
    except DataError as error:
        return Inspection("", "", 0, 0, "", str(error))
    return inspect(data)


def inspect_all(
    images: Sequence[PlacedRef], pool: ThreadPoolExecutor
) -> Iterator[Inspection]:
    """Yield what each image is, in their order; reads a bounded number ahead."""
    reader = CoalescedReader()
    windows = (
        reader.begin(images[start : start + WINDOW_IMAGES])
        for start in range(0, len(images), WINDOW_IMAGES)
    )
    inspections = (
        pool.submit(inspect_image, read) for reads in windows for read in reads
    )
    try:
        yield from map_in_order(inspections, num_ahead=_MAX_WAITING)
    finally:
        reader.close()


def begin(roots: Sequence[str]) -> Callable[[Sequence[Any]], list[Inspection]]:
    """Make what a process does: [[root, ref, version], …] in, inspections out."""
    num_readers = storage.num_readers(1, roots)
    pool = ThreadPoolExecutor(num_readers)

    def work(images: Sequence[Any]) -> list[Inspection]:
        placed = [PlacedRef(r, ImageRef(*ref), version) for r, ref, version in images]
        if num_readers > 1:
            return list(inspect_all(placed, pool))
        return [inspect_image(partial(read_image_bytes, *place)) for place in placed]

    return work
