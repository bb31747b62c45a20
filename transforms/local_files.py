"""Local files → listings and byte ranges, by descriptors that stay open."""

import errno
import functools
import os

from transforms.records import DataError
from transforms.stores import Entry

_MAX_OPEN_FILES = 128
_BROKEN_LINK = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}


def list_folder(path: str) -> list[Entry]:
    """List a folder by name, links followed, hidden names included."""
    with os.scandir(path) as entries:
        return sorted(map(_describe_entry, entries))


def _describe_entry(entry: os.DirEntry[str]) -> Entry:
    try:
        if entry.is_dir():
            return Entry(entry.name, is_folder=True, num_bytes=0)
        return Entry(entry.name, is_folder=False, num_bytes=entry.stat().st_size)
    except OSError as error:
        if error.errno not in _BROKEN_LINK:
            raise
        return Entry(entry.name, is_folder=False, num_bytes=0)  # told when it is read


class _SharedDescriptor:
    """A file kept open between reads, closed with its last reader."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None:
            os.close(number)


@functools.lru_cache(maxsize=_MAX_OPEN_FILES)
def _open_shared(path: str) -> _SharedDescriptor:
    return _SharedDescriptor(path)


def close_shared() -> None:
    """Close all; a read that is going on keeps its own open."""
    _open_shared.cache_clear()


def read_range(path: str, offset: int, length: int) -> bytes:
    """Read part of a file; safe from many threads.

    Raises:
      DataError: the file is gone, or shorter than the range.
      OSError: anything that another try may mend.
    """
    try:
        descriptor = _open_shared(path)
    except PermissionError:
        raise DataError("no permission to read the file") from None
    except OSError as error:
        if error.errno not in _BROKEN_LINK:
            raise
        raise DataError("the file is gone") from None
    data = os.pread(descriptor.number, length, offset)
    while 0 < len(data) < length:  # Linux returns at most 2 GiB at once
        more = os.pread(descriptor.number, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    if len(data) != length:
        raise DataError(f"the file ends {length - len(data)} bytes too early")
    return data
