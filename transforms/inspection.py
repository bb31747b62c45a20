"""Refs of images → what each file is, by threads or by processes of this machine."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from transforms import storage
from transforms.image_bytes import read_image_bytes
from transforms.images.inspect import Inspection, inspect
from transforms.nearby_images import NearbyReader, PlacedRef, ReadImage
from transforms.reading_ahead import in_order
from transforms.records import DataError, ImageRef

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
    reader = NearbyReader()
    windows = (
        reader.begin(images[start : start + WINDOW_IMAGES])
        for start in range(0, len(images), WINDOW_IMAGES)
    )
    inspections = (
        pool.submit(inspect_image, read) for reads in windows for read in reads
    )
    try:
        yield from in_order(inspections, num_ahead=_MAX_WAITING)
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
