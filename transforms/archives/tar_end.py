"""Check that the first all-zero block of a tar is its end and not a hole.

Interrupted downloads that preallocate the file or fetch parts in parallel leave holes
of zeros. A reader that stops at the first zero block, as GNU tar and Python's tarfile
do, silently loses every member after the hole. Only padding may follow the end.
"""

from collections.abc import Iterator

from transforms import storage
from transforms.records import DataError, UsageError

BLOCK = 512
_END_MARK = 2 * BLOCK
_RECORD = 20 * BLOCK  # tar and Python's tarfile pad archives to a multiple of this
# Other writers pad to one block (Go, Java) or as `tar -b` states, up to 2048 blocks.
_RECORDS = (*(BLOCK << n for n in range(12)), *(_RECORD << n for n in range(7)))
_MAX_END = _END_MARK + max(_RECORDS)
_SEARCHED = 1 << 24  # bytes after the zeros that are searched for a header
_CHUNK = 1 << 20


def check_end(path: str, position: int, *, start: int, end: int) -> str | None:
    """Check the bytes after the last member of an archive.

    Args:
      path: the file that contains the archive.
      position: byte offset of the first all-zero block.
      start: byte offset of the archive in the file.
      end: byte offset of the end of the archive in the file.

    Returns:
      A key of `input_warnings.KINDS` if the end is unusual; None if it is normal.

    Raises:
      UsageError: the zeros are followed by another member or by unexpected data, or
        are longer than any padding.
    """
    data = _find_data(path, position, min(end, position + _MAX_END))
    if data is not None:
        return _check_data(path, position, data, start=start, end=end)
    num_empty = end - position
    num_padding = num_empty - _END_MARK
    num_bytes = end - start
    is_usual = num_padding <= 0 or (num_padding < _RECORD and num_bytes % _RECORD == 0)
    is_padded = num_padding < _RECORD or any(
        num_bytes % record == 0 and num_padding < record for record in _RECORDS
    )
    if not is_padded or (position == start and num_padding >= _RECORD):
        raise _damaged(
            path,
            f"the {num_empty} bytes from byte {position} are zeros, which is more than "
            "the end of an archive",
        )
    if position == start:
        return "empty_archive"
    if num_empty < _END_MARK:
        return "no_end_mark"
    return None if is_usual else "long_end"


def _check_data(
    path: str, position: int, data: int, *, start: int, end: int
) -> str | None:
    """Accept trailing data after a normal end if they contain no member.

    Args:
      path: the file that contains the archive.
      position: byte offset of the first all-zero block.
      data: byte offset of the first non-zero byte after `position`.
      start: byte offset of the archive in the file.
      end: byte offset of the end of the archive in the file.

    Returns:
      "data_behind_end", the kind of observation.

    Raises:
      UsageError: another member follows, the end before the data is not normal, or the
        data are longer than 1 MiB or end with an end mark.
    """
    header = _find_header(path, data, start=start, end=min(end, data + _SEARCHED))
    if header is not None:
        raise _damaged(
            path,
            f"byte {position} to {data} are zeros, but another member starts at byte "
            f"{header}; if the file has several archives, extract them with tar "
            "--ignore-zeros and pack them again",
        )
    num_empty = data - position
    is_usual_end = (
        position > start
        and _END_MARK <= num_empty < _END_MARK + _RECORD
        and (data - start) % _RECORD == 0
    )
    tail = min(end - data, _END_MARK)
    has_own_end = storage.read_range(path, end - tail, tail) == bytes(tail)
    if not is_usual_end or has_own_end or end - data > _CHUNK:
        raise _damaged(
            path,
            f"byte {position} to {data} are zeros, and {end - data} bytes of data "
            "follow",
        )
    return "data_behind_end"


def _damaged(path: str, detail: str) -> UsageError:
    return UsageError(
        f"{path}: the archive is damaged or was not downloaded completely ({detail}); "
        "copy or download it again"
    )


def _read_chunks(path: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for position in range(start, end, _CHUNK):
        try:
            chunk = storage.read_range(path, position, min(_CHUNK, end - position))
        except DataError as error:
            raise UsageError(f"{path}: {error}") from error
        yield position, chunk


def _find_data(path: str, start: int, end: int) -> int | None:
    """Return the offset of the first non-zero byte in [start, end), or None."""
    for position, chunk in _read_chunks(path, start, end):
        if rest := chunk.lstrip(b"\0"):
            return position + len(chunk) - len(rest)
    return None


def _find_header(path: str, data: int, *, start: int, end: int) -> int | None:
    """Return the offset of the first tar header in the blocks from `data` to `end`.

    `start` is the offset of the archive, to which blocks are aligned. Return None if
    there is no header.
    """
    first = data - (data - start) % BLOCK
    for position, chunk in _read_chunks(path, first, end):
        for offset in range(0, len(chunk) - BLOCK + 1, BLOCK):
            if is_header(chunk[offset : offset + BLOCK]):
                return position + offset
    return None


def is_header(block: bytes) -> bool:
    """Return whether a 512-byte block has a valid tar header checksum.

    Checksums over signed bytes, which old writers computed, are accepted too.
    """
    field = block[148:156]
    try:
        stored = int(field.rstrip(b" \0"), 8)
    except ValueError:
        return False
    # Most bytes are zeros; the sum is faster without them.
    total = sum(block.translate(None, b"\0")) - sum(field) + 8 * ord(" ")
    if stored == total:
        return True
    num_high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
    return stored == total - 256 * num_high
