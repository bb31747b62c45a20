"""A ref → the bytes of its image, however its input holds them.

- raw: the bytes of the file at [offset, offset + length)
- deflate: the same, compressed: a member of a zip
- parquet: row `length` of row group `offset`, column `image`
"""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import DataError, ImageRef

ENCODINGS = ("raw", "deflate", "parquet")
IMAGE_COLUMN, BYTES_COLUMN = "image", "image.bytes"
_MAX_INFLATED_BYTES = 1 << 26  # ImageNet's largest image has a quarter of it
_MAX_ROW_GROUP_BYTES = 1 << 30
_MAX_KEPT_BYTES = 1 << 28
_MAX_FOOTERS = 512
_NUM_LOCKS = 64


def read_image_bytes(root: str, ref: ImageRef, version: str = "") -> bytes:
    """Read an image that lies in an input's folder; safe from many threads.

    Args:
      root: the input's folder.
      ref: the image.
      version: of the object that holds it, if it lies in a bucket and is known.

    Raises:
      DataError: it is gone, damaged, or larger than any image.
      OSError: anything that another try may mend.
    """
    path = f"{root}/{ref.uri}"
    if ref.encoding == "parquet":
        return _read_row(path, ref.offset, ref.length, version)
    data = storage.read_range(path, ref.offset, ref.length, version=version)
    return unpack(ref, data)


def unpack(ref: ImageRef, data: bytes) -> bytes:
    """Return an image as it is outside the archive that holds these bytes.

    Raises: DataError: it is damaged, or larger than any image.
    """
    return inflate(data) if ref.encoding == "deflate" else data


def describe_place(ref: ImageRef) -> str:
    """Say where an image lies, for messages."""
    if ref.encoding == "parquet":
        return f"{ref.uri} in row {ref.length} of row group {ref.offset}"
    return f"{ref.uri} at byte {ref.offset}"


def inflate(data: bytes, *, max_bytes: int = _MAX_INFLATED_BYTES) -> bytes:
    """Decompress a member of a zip; never makes more than a bounded size of it.

    Raises: DataError: damaged, truncated or a bomb.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(data, max_bytes)
    except zlib.error as error:
        raise DataError(f"damaged in the zip ({error})") from None
    if stream.unconsumed_tail or (not stream.eof and len(inflated) == max_bytes):
        raise DataError(f"is more than {max_bytes} bytes when decompressed")
    if not stream.eof:
        raise DataError("ends too early in the zip")
    return inflated


class RowGroups:
    """The images of the row groups read last, each read once for all threads.

    Images that are read in order cost one pass; images picked at random cost a row
    group each, whatever is kept.
    """

    def __init__(self, max_bytes: int = _MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()
        # Who wants what another is reading waits for it.
        self._loading = [threading.Lock() for _ in range(_NUM_LOCKS)]

    def get(
        self, path: str, number: int, load: Callable[[str, int], pa.ChunkedArray]
    ) -> pa.ChunkedArray:
        """Return a row group's images, loaded at most once while they are kept."""
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
        """Keep nothing."""
        with self._lock:
            self._kept.clear()


_row_groups = RowGroups()


def forget() -> None:
    """Let go of all that is kept between reads."""
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
        return pq.read_metadata(file)


def _load_row_group(path: str, number: int, *, version: str) -> pa.ChunkedArray:
    """Read the bytes of all images of a row group, and no other column."""
    try:
        footer = _read_footer(path, version)
        if number >= footer.num_row_groups:
            raise DataError(f"the file has {footer.num_row_groups} row groups")
        _check_size(footer.row_group(number))
        with storage.open_input(path, version=version) as file:
            opened = pq.ParquetFile(file, metadata=footer)
            table = opened.read_row_group(number, columns=[BYTES_COLUMN])
        return pc.struct_field(table[IMAGE_COLUMN], "bytes").cast(pa.binary())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError("the file is gone") from None
    except PermissionError:
        raise DataError("no permission to read the file") from None
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"damaged Parquet file ({error})") from None
    except OSError as error:
        if isinstance(error.__cause__, DataError):  # of the object, not of its content
            raise error.__cause__ from None
        if error.errno is not None:
            raise
        raise DataError(f"damaged Parquet file ({error})") from None  # Arrow's own


def _check_size(row_group: pq.RowGroupMetaData) -> None:
    """Refuse, before anything is allocated, what no file of images has."""
    for column in map(row_group.column, range(row_group.num_columns)):
        size = max(column.total_uncompressed_size, column.total_compressed_size)
        if column.path_in_schema == BYTES_COLUMN and size > _MAX_ROW_GROUP_BYTES:
            raise DataError(f"a row group of {size} bytes of images is too large")
