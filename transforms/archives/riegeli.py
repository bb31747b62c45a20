"""Locate records in Riegeli files, the container of ArrayRecord.

A file consists of blocks of 64 KiB, each of which starts with a header of 24 bytes. The
header interrupts a record that crosses a block boundary. Logical offsets do not count
these headers.

Source: google/riegeli, doc/riegeli_records_file_format.md.
"""

import struct
from collections.abc import Iterator

from transforms import storage
from transforms.records import DataError

_BLOCK_BYTES, _BLOCK_HEADER_BYTES = 1 << 16, 24
_CONTENT_BYTES = _BLOCK_BYTES - _BLOCK_HEADER_BYTES
_CHUNK_HEADER_BYTES = 40
_SIGNATURE_BYTES = _CHUNK_HEADER_BYTES  # a chunk without data starts the file
# Hash of the header, bytes of data, hash of the data, type and number of records, bytes
# of the decoded records.
_CHUNK_HEADER = struct.Struct("<5Q")
_ONE_RECORD = 1 << 8 | ord("r")


def to_file_range(offset: int, length: int) -> tuple[int, int]:
    """Convert a logical byte range to its offset and length in the file."""
    start, last = map(_to_file_offset, (offset, offset + length - 1))
    return start, last + 1 - start


def _to_file_offset(offset: int) -> int:
    block, at = divmod(offset, _CONTENT_BYTES)
    return block * _BLOCK_BYTES + _BLOCK_HEADER_BYTES + at


def remove_block_headers(data: bytes, offset: int) -> bytes:
    """Remove the block headers from bytes that start at `offset` in the file."""
    first = -offset % _BLOCK_BYTES
    starts = [0, *range(first + _BLOCK_HEADER_BYTES, len(data), _BLOCK_BYTES)]
    ends = [*range(first, len(data), _BLOCK_BYTES), len(data)]
    return b"".join(map(data.__getitem__, map(slice, starts, ends)))


def locate_records(path: str, num_records: int) -> Iterator[int]:
    """Yield the logical offset of each record of an uncompressed file.

    Args:
      path: path of the file, each chunk of which contains one record.
      num_records: number of records.

    Raises:
      DataError: a chunk does not contain exactly one record.
    """
    at = _SIGNATURE_BYTES
    with storage.open_input(path) as file:
        for _ in range(num_records):
            start, length = to_file_range(at, _CHUNK_HEADER_BYTES)
            file.seek(start)
            header = remove_block_headers(file.read(length), start)
            _, num_bytes, _, kind, record_bytes = _CHUNK_HEADER.unpack(header)
            if kind != _ONE_RECORD:
                raise DataError(f"{path}: no chunk of one record at byte {start}")
            at += _CHUNK_HEADER_BYTES + num_bytes
            yield at - record_bytes
