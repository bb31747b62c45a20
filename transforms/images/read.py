"""Read the bytes of an image from a file, an archive, a record or a Parquet row.

A `ParquetRow` locates an image in the column `image.bytes`. A `ByteRange` locates it in
the bytes [offset, offset + length) of a file, which `encoding` describes:

- raw: uncompressed
- deflate: as a compressed zip member
- riegeli: interrupted by Riegeli block headers, which are removed
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.archives import riegeli
from transforms.archives.zips import inflate
from transforms.records import ByteRange, DataError, ImageRef, ParquetRow

ENCODINGS = ("raw", "deflate", "riegeli")
IMAGE_COLUMN, BYTES_COLUMN = "image", "image.bytes"
_MAX_ROW_GROUP_BYTES = 1 << 30
_MAX_KEPT_BYTES = 1 << 28
_MAX_FOOTERS = 512
_NUM_LOCKS = 64


def read_image_bytes(root: str, ref: ImageRef, version: str = "") -> bytes:
    """Read an image of an input folder; thread-safe.

    Args:
      root: folder of the input.
      ref: the image.
      version: required version of the object that contains the image; "" if unknown or
        if the input is local.

    Raises:
      DataError: the image is missing, damaged or too large, or the object has changed.
      OSError: any error that a retry may resolve.
    """
    path, location = f"{root}/{ref.uri}", ref.location
    if isinstance(location, ParquetRow):
        return _read_row(path, *location, version)
    offset, length, encoding = location
    data = storage.read_range(path, offset, length, version=version)
    return unpack(data, encoding, offset)


def unpack(data: bytes, encoding: str, offset: int) -> bytes:
    """Decode the byte range of an image, which starts at `offset` of its file.

    Raises:
      DataError: the data are damaged, or larger than 64 MiB when decompressed.
    """
    if encoding == "riegeli":
        return riegeli.remove_block_headers(data, offset)
    return inflate(data) if encoding == "deflate" else data


def describe_place(ref: ImageRef) -> str:
    """Describe the location of an image for messages."""
    location = ref.location
    if isinstance(location, ParquetRow):
        return f"{ref.uri} in row {location.row} of row group {location.row_group}"
    return f"{ref.uri} at byte {location.offset}"


class RowGroups:
    """A thread-safe LRU cache of row groups of image bytes.

    Threads that request the same row group wait for a single read. Reading images in
    order reads each row group once. Reading them in random order reads about one row
    group per image, because the cache is much smaller than the data.
    """

    def __init__(self, max_bytes: int = _MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()
        # A thread waits if another one is reading the row group that it needs.
        self._loading = [threading.Lock() for _ in range(_NUM_LOCKS)]

    def get(
        self, path: str, number: int, load: Callable[[str, int], pa.ChunkedArray]
    ) -> pa.ChunkedArray:
        """Return the images of a row group, shape (rows,), from the cache or `load`.

        Args:
          path: path of the Parquet file.
          number: number of the row group.
          load: reads a row group, given `path` and `number`.
        """
        with self._loading[number % _NUM_LOCKS]:
            with self._lock:
                if (kept := self._kept.get((path, number))) is not None:
                    self._kept.move_to_end((path, number))
                    return kept
            images = load(path, number)
            with self._lock:
                self._kept[path, number] = images
                size = sum(array.nbytes for array in self._kept.values())
                while size > self._max_bytes and len(self._kept) > 1:
                    size -= self._kept.popitem(last=False)[1].nbytes
            return images

    def clear(self) -> None:
        """Drop all cached row groups."""
        with self._lock:
            self._kept.clear()


_row_groups = RowGroups()


def forget() -> None:
    """Clear all caches of row groups, footers, open files and object versions."""
    _row_groups.clear()
    _read_footer.cache_clear()
    storage.forget_open_files()


def _read_row(path: str, row_group: int, row: int, version: str) -> bytes:
    load = partial(_load_row_group, version=version)
    images = _row_groups.get(path, row_group, load)
    if row >= len(images):
        raise DataError(f"row group {row_group} has {len(images)} rows")
    value = images[row].as_py()
    if value is None:
        raise DataError("the row holds no image")
    return value


@lru_cache(maxsize=_MAX_FOOTERS)
def _read_footer(path: str, version: str) -> pq.FileMetaData:
    with storage.open_input(path, version=version) as file:
        return storage.open_parquet(file).metadata


def _load_row_group(path: str, number: int, *, version: str) -> pa.ChunkedArray:
    """Read the image bytes of a row group, shape (rows,).

    Raises:
      DataError: the row group or file is missing, damaged, too large or not permitted.
      OSError: any error that a retry may resolve.
    """
    try:
        footer = _read_footer(path, version)
        if number >= footer.num_row_groups:
            raise DataError(f"the file has {footer.num_row_groups} row groups")
        _check_size(footer.row_group(number))
        with storage.open_input(path, version=version) as file:
            opened = storage.open_parquet(file, metadata=footer)
            table = opened.read_row_group(number, columns=[BYTES_COLUMN])
        return pc.struct_field(table[IMAGE_COLUMN], "bytes").cast(pa.binary())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError("the file is gone") from None
    except PermissionError:
        raise DataError("no permission to read the file") from None
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"damaged Parquet file ({error})") from None
    except OSError as error:
        if isinstance(error.__cause__, DataError):  # about the object, not its content
            raise error.__cause__ from None
        if error.errno is not None:
            raise
        raise DataError(f"damaged Parquet file ({error})") from None  # Arrow's own


def _check_size(row_group: pq.RowGroupMetaData) -> None:
    """Check that the images of a row group take at most 1 GiB, before it is read.

    Raises:
      DataError: the row group is larger.
    """
    for column in map(row_group.column, range(row_group.num_columns)):
        size = max(column.total_uncompressed_size, column.total_compressed_size)
        if column.path_in_schema == BYTES_COLUMN and size > _MAX_ROW_GROUP_BYTES:
            raise DataError(f"a row group of {size} bytes of images is too large")


# Reading a gap of this size takes less time than another request.
_MAX_GAP_BYTES = 1 << 20
_MAX_SPAN_BYTES = 16 << 20
_READS_AT_ONCE = 8

ReadImage = Callable[[], bytes]  # raises as `read_image_bytes` does


class PlacedRef(NamedTuple):
    """An image reference with its input's folder and its object's version."""

    root: str
    ref: ImageRef
    version: str = ""


@dataclass
class Span:
    """A byte range [start, end) of an object that contains several images."""

    path: str
    version: str
    start: int
    end: int
    images: dict[int, ByteRange]  # by position in the input of `plan_ranges`

    def takes(self, path: str, start: int, end: int) -> bool:
        """Return whether an image at [start, end) can be read in the same request."""
        is_near = start - self.end <= _MAX_GAP_BYTES
        is_small = max(end, self.end) - self.start <= _MAX_SPAN_BYTES
        return path == self.path and is_near and is_small


def plan_ranges(images: Sequence[PlacedRef]) -> list[Span]:
    """Combine neighbouring images in buckets into ranges of at least two images.

    No range includes local images, rows of Parquet files, or isolated images.
    """
    places = sorted(
        (f"{root}/{ref.uri}", ref.location, number)
        for number, (root, ref, _) in enumerate(images)
        if storage.is_remote(root) and isinstance(ref.location, ByteRange)
    )
    spans: list[Span] = []
    for path, place, number in places:
        start, end = place.offset, place.offset + place.length
        if spans and spans[-1].takes(path, start, end):
            spans[-1].end = max(end, spans[-1].end)
            spans[-1].images[number] = place
        else:
            version = images[number].version
            spans.append(Span(path, version, start, end, {number: place}))
    return [span for span in spans if len(span.images) > 1]


class CoalescedReader:
    """Prefetch images from buckets, with one request for neighbouring images."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_READS_AT_ONCE)

    def close(self) -> None:
        """Cancel queued reads and stop the threads."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, images: Sequence[PlacedRef]) -> list[ReadImage]:
        """Start reading combined ranges in the background.

        A range has at most 16 MiB, unless a single image is larger, and stays in memory
        while any of its read functions exists.

        Returns:
          A function per image that waits for the bytes of the image and returns them.
        """
        reads: list[ReadImage] = [partial(read_image_bytes, *image) for image in images]
        for span in plan_ranges(images):
            length = span.end - span.start
            read = partial(storage.read_range, version=span.version)
            data = self._pool.submit(read, span.path, span.start, length)
            for number, place in span.images.items():
                reads[number] = partial(_cut, data, span.start, place, reads[number])
        return reads


def _cut(data: Future[bytes], start: int, place: ByteRange, read: ReadImage) -> bytes:
    """Return the image at `place` from a range that starts at byte `start`.

    If the range cannot be read, `read` reads the image alone.
    """
    try:
        whole = data.result()
    except DataError:  # possibly only of other images in the range
        return read()
    at = place.offset - start
    return unpack(whole[at : at + place.length], place.encoding, place.offset)
