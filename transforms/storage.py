"""Paths → listings, byte ranges and atomic files: the only door to where data lies."""

import errno
import functools
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transforms.records import DataError, JobError, WrittenFile

_MAX_OPEN_FILES = 128
# No image of ImageNet has a hundredth of this; bounds what is allocated.
MAX_RANGE_BYTES = 1 << 28
_BROKEN_LINK = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    is_folder: bool
    num_bytes: int


def is_remote(path: str) -> bool:
    """Tell whether a path names a bucket."""
    return "://" in path


def exists(path: str) -> bool:
    """Tell whether a file or folder is there."""
    return Path(path).exists()


def is_folder(path: str) -> bool:
    """Tell whether a path is a folder."""
    return Path(path).is_dir()


def num_bytes(path: str) -> int:
    """Return the size of a file."""
    return Path(path).stat().st_size


def read(path: str) -> bytes:
    """Read a small file whole."""
    return Path(path).read_bytes()


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
    if length > MAX_RANGE_BYTES:
        raise DataError(f"{length} bytes are over the bound of {MAX_RANGE_BYTES}")
    data = os.pread(descriptor.number, length, offset)
    while 0 < len(data) < length:  # Linux returns at most 2 GiB at once
        more = os.pread(descriptor.number, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    if len(data) != length:
        raise DataError(f"the file ends {length - len(data)} bytes too early")
    return data


def forget_open_files() -> None:
    """Close the files that `read_range` keeps open."""
    _open_shared.cache_clear()


class AtomicFile:
    """A file that appears whole or not at all, hashed while it is written.

    Args:
      root: the dataset's directory.
      path: where in it, relative.
    """

    def __init__(self, root: str, path: str) -> None:
        self._path = path
        self._final = Path(root, path)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        mark = f"{os.getpid()}-{threading.get_ident()}"
        self._temporary = self._final.with_name(f".{self._final.name}.{mark}.tmp")
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
        self._temporary.replace(self._final)
        return WrittenFile(self._path, self._num_bytes, self._hash.hexdigest())

    def discard(self) -> None:
        """Leave nothing behind; harmless after `close`."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def write(root: str, path: str, data: bytes) -> WrittenFile:
    """Write a small file atomically."""
    file = AtomicFile(root, path)
    try:
        file.write(data)
        return file.close()
    finally:
        file.discard()


def describe_file(root: str, path: str) -> WrittenFile | None:
    """Hash a file again; None when it is not there."""
    try:
        with Path(root, path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return WrittenFile(path, file.tell(), digest)
    except FileNotFoundError:
        return None


def list_files(root: str) -> Iterator[str]:
    """Yield every file below a folder, relative to it, by name."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name).relative_to(root).as_posix()


def free_bytes(path: str) -> int:
    """Return the free space where a path lies or would lie."""
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def remove_folder(path: str) -> None:
    """Remove a folder and all in it; harmless when it is not there."""
    if Path(path).is_dir():
        shutil.rmtree(path)


def rename_folder(source: str, target: str) -> None:
    """Give a finished folder its name, in one step.

    Raises: JobError: something took that name meanwhile.
    """
    try:
        Path(source).rename(target)
    except OSError as error:
        raise JobError(f"{source} could not become {target}: {error}") from error


def flush() -> None:
    """Bring to the disk what was written, so that a commit mark speaks the truth."""
    os.sync()
