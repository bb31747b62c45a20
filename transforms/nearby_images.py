"""Refs of images that lie close together in a bucket → their bytes, in few requests.

For whoever reads archives from front to back. A build does not: what it has chosen lies
far apart, and what lies between would be read for nothing.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from transforms import storage
from transforms.image_bytes import read_image_bytes, unpack
from transforms.records import DataError, ImageRef

# A gap of this size is read sooner than a store begins to answer another request.
_MAX_GAP_BYTES = 1 << 20
_MAX_SPAN_BYTES = 16 << 20
_READS_AT_ONCE = 8

ReadImage = Callable[[], bytes]  # raises as `read_image_bytes` does


class PlacedRef(NamedTuple):
    """An image, the input that its uri is relative to, and its object's version."""

    root: str
    ref: ImageRef
    version: str = ""


@dataclass
class Span:
    """Bytes of one object, [start, end), that hold these images."""

    path: str
    version: str
    start: int
    end: int
    numbers: list[int]  # of the images, in the order they were given

    def takes(self, path: str, start: int, end: int) -> bool:
        """Tell whether what lies there may be read together with this."""
        is_near = start - self.end <= _MAX_GAP_BYTES
        is_small = max(end, self.end) - self.start <= _MAX_SPAN_BYTES
        return path == self.path and is_near and is_small


def plan_spans(images: Sequence[PlacedRef]) -> list[Span]:
    """Gather neighbours in buckets; what lies elsewhere, or alone, is left out."""
    places = sorted(
        (f"{root}/{ref.uri}", ref.offset, ref.offset + ref.length, number)
        for number, (root, ref, _) in enumerate(images)
        if storage.is_remote(root) and ref.encoding != "parquet"
    )
    spans: list[Span] = []
    for path, start, end, number in places:
        if spans and spans[-1].takes(path, start, end):
            spans[-1].end = max(end, spans[-1].end)
            spans[-1].numbers.append(number)
        else:
            spans.append(Span(path, images[number].version, start, end, [number]))
    return [span for span in spans if len(span.numbers) > 1]


class NearbyReader:
    """Reads the spans of a bounded number of images ahead of those who want them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_READS_AT_ONCE)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, images: Sequence[PlacedRef]) -> list[ReadImage]:
        """Begin to read; returns, for each image, what waits for its bytes.

        Their spans, at most 16 MiB each, are held until the last of them was read.
        """
        reads: list[ReadImage] = [partial(read_image_bytes, *image) for image in images]
        for span in plan_spans(images):
            length = span.end - span.start
            read = partial(storage.read_range, version=span.version)
            data = self._pool.submit(read, span.path, span.start, length)
            for number in span.numbers:
                reads[number] = partial(_cut, data, span.start, images[number])
        return reads


def _cut(data: Future[bytes], start: int, image: PlacedRef) -> bytes:
    """Take one image out of a span."""
    try:
        whole = data.result()
    except DataError:  # not of every image in it: of some that the object lacks
        return read_image_bytes(*image)
    at = image.ref.offset - start
    return unpack(image.ref, whole[at : at + image.ref.length])
