"""An object in a bucket → a file to read and seek in, read in ranges."""

import errno
import io
from typing import BinaryIO

from transforms import stores
from transforms.records import DataError

_BUFFER_BYTES = 1 << 20


class _ObjectFile(io.RawIOBase):
    """An object as a file, read in ranges."""

    def __init__(self, path: str, version: str) -> None:
        self._path = path
        self._version = version
        self._size = stores.num_bytes(path)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = max(start[whence] + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._position, stores.CHUNK_BYTES)
        if length <= 0:
            return 0
        try:
            buffer[:length] = stores.read_range(
                self._path, self._position, length, version=self._version
            )
        except DataError as error:
            raise OSError(errno.EIO, str(error), self._path) from error
        self._position += length
        return length


def open_input(path: str, *, version: str = "") -> BinaryIO:
    """Open an object to read and seek in; "": of the version that it has now."""
    return io.BufferedReader(_ObjectFile(path, version), buffer_size=_BUFFER_BYTES)
