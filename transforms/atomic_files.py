"""Bytes → files that appear whole or not at all, in a folder or in a bucket."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transforms import stores
from transforms.records import WrittenFile


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
        self._temporary = _make_temporary(self._final)
        self._hash = hashlib.sha256()
        self._num_bytes = 0
        self._file = self._temporary.open("wb")

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._num_bytes

    def close(self) -> WrittenFile:
        """Make the file appear under its name."""
        self._file.close()
        _publish(self._temporary, self._final)
        return WrittenFile(self._path, self._num_bytes, self._hash.hexdigest())

    def discard(self) -> None:
        """Leave nothing behind; harmless after `close`."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _make_temporary(final: str) -> Path:
    """Find a local place for a file until it is whole: beside its own, if it can be."""
    if stores.is_remote(final):
        number, name = tempfile.mkstemp(prefix="imagenet_subsets-")
        os.close(number)
        return Path(name)
    place = Path(final)
    place.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{os.getpid()}-{threading.get_ident()}"
    return place.with_name(f".{place.name}.{mark}.tmp")


def _publish(temporary: Path, final: str) -> None:
    if stores.is_remote(final):
        stores.put(final, temporary)
    else:
        temporary.replace(final)


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Name a local file to write; it appears at the path when the block ends well."""
    temporary = _make_temporary(path)
    try:
        yield str(temporary)
        _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
