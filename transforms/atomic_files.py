"""Bytes → files that appear whole or not at all, in a folder or in a bucket."""

import errno
import functools
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transforms import scratch, stores
from transforms.records import JobError, WrittenFile

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class AtomicFile:
    """A file that appears whole or not at all, hashed while it is written.

    In a bucket it is one put of a file that was written locally.

    Args:
      root: the dataset's directory.
      path: where in it, relative.
    """

    def __init__(self, root: str, path: str) -> None:
        self._path = path
        self._final = f"{root}/{path}"
        self._hash = hashlib.sha256()
        self._num_bytes = 0
        with _room(self._final):
            self._temporary = _Temporary(self._final)
            self._file = self._temporary.path.open("wb")

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises: JobError: there is no room.
        """
        with _room(self._final):
            self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._num_bytes

    def close(self) -> WrittenFile:
        """Make the file appear under its name."""
        with _room(self._final):
            self._file.close()
            self._temporary.publish()
        return WrittenFile(self._path, self._num_bytes, self._hash.hexdigest())

    def discard(self) -> None:
        """Leave nothing behind; harmless after `close`."""
        with suppress(OSError):  # there may be no room for what it still holds
            self._file.close()
        self._temporary.remove()


class _Temporary:
    """A local file until it is whole: beside its own place, if it can be.

    It is held, so that no other run clears it as a left-over.
    """

    def __init__(self, final: str) -> None:
        self._final = final
        if stores.is_remote(final):
            _sweep_once()
            self._descriptor, self.path = scratch.open_file()
            return
        place = Path(final)
        place.parent.mkdir(parents=True, exist_ok=True)
        mark = f"{os.getpid()}-{threading.get_ident()}"
        self.path = place.with_name(f".{place.name}.{mark}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._descriptor = os.open(self.path, flags, 0o666)
        scratch.claim(self._descriptor, self.path)

    def publish(self) -> None:
        """Give the file its name."""
        if stores.is_remote(self._final):
            stores.put(self._final, self.path)
        else:
            self.path.replace(self._final)
        self.remove()

    def remove(self) -> None:
        """Leave nothing behind; harmless after `publish`."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


_sweep_once = functools.cache(scratch.sweep_files)


@contextmanager
def _room(final: str) -> Iterator[None]:
    """Say what could not be written, and where: the system names no file.

    Raises: JobError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        where = f"{tempfile.gettempdir()}, for " if stores.is_remote(final) else ""
        raise JobError(
            f"{where}{final}: cannot be written ({os.strerror(error.errno)}); make "
            "room and run the same command again (a build goes on with --resume)"
        ) from error


def clear_temporary(final: str) -> None:
    """Remove what killed processes left of a local file that was not whole yet."""
    place = Path(final)
    if not stores.is_remote(final) and place.parent.is_dir():
        scratch.sweep(place.parent, rf"\.{re.escape(place.name)}\.\d+-\d+\.tmp")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Name a local file to write; it appears at the path when the block ends well.

    Raises: JobError: there is no room.
    """
    with _room(path):
        temporary = _Temporary(path)
        try:
            yield str(temporary.path)
            temporary.publish()
        finally:
            temporary.remove()


def write(root: str, path: str, data: bytes) -> WrittenFile:
    """Write a small file atomically."""
    if stores.is_remote(root):
        stores.put(f"{root}/{path}", data)
        return WrittenFile(path, len(data), hashlib.sha256(data).hexdigest())
    file = AtomicFile(root, path)
    try:
        file.write(data)
        return file.close()
    finally:
        file.discard()
