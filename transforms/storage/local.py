"""Local files: locks, temporary files, range reads and atomic writes.

A killed process cannot clean up, but the system releases its locks. A temporary file
or folder that nobody has locked is therefore stale, and the next process removes it.
"""

import errno
import fcntl
import functools
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transforms.records import DataError, JobError, UsageError, WrittenFile
from transforms.storage import remote
from transforms.storage.remote import Entry

_MARK = "imagenet_subsets-"
_RANDOM = "[a-z0-9_]{8}"  # as tempfile makes names


def try_lock(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder until it is closed.

    Returns:
      False if another process holds the lock or has removed the file. True on file
      systems without locks, where `remove_stale` removes nothing.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def remove_stale(folder: Path, names: str) -> None:
    """Remove files and folders that match a pattern and that nobody has locked."""
    for path in list(folder.iterdir()):
        if re.fullmatch(names, path.name):
            with suppress(OSError):  # gone, or somebody else's
                _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


@contextmanager
def folder(place: Path | None, prefix: str) -> Iterator[str]:
    """Create a locked temporary folder; remove stale ones first.

    Args:
      place: parent folder; None uses the system's temporary folder.
      prefix: prefix of the name, which identifies the kind.
    """
    where = place or Path(tempfile.gettempdir())
    where.mkdir(parents=True, exist_ok=True)
    remove_stale(where, re.escape(prefix + _MARK) + _RANDOM)
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix + _MARK, dir=where))
        descriptor = os.open(made, os.O_RDONLY)
        if try_lock(descriptor, made):
            break
        os.close(descriptor)  # taken for a left-over before it was locked
    try:
        yield str(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def open_file() -> tuple[int, Path]:
    """Create a locked temporary file; return its descriptor and its path."""
    while True:
        number, name = tempfile.mkstemp(prefix=_MARK)
        if try_lock(number, Path(name)):
            return number, Path(name)
        os.close(number)


def remove_stale_files() -> None:
    """Remove temporary files of killed processes."""
    remove_stale(Path(tempfile.gettempdir()), re.escape(_MARK) + _RANDOM)


_MAX_OPEN_FILES = 128
_BROKEN_LINK = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}


def list_folder(path: str) -> list[Entry]:
    """List a folder by name; links are followed, hidden names are included."""
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
        return Entry(entry.name, is_folder=False, num_bytes=0)  # reads report it


_KINDS = {
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class IrregularFileError(UsageError, OSError):
    """A pipe, socket or device in place of a file; opening it may wait for ever.

    Pipes are refused because tables and archives are read more than once. The error
    has the `strerror` of other errors about files, and the user can fix it.
    """

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def check_regular(path: str) -> None:
    """Check that a path is a file or a folder, before it is opened.

    Raises:
      IrregularFileError: it is a pipe, socket or device.
      OSError: it does not exist, or a parent folder is not accessible.
    """
    if kind := _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode)):
        reason = f"is a {kind}, not a regular file; write its content to a file"
        raise IrregularFileError(errno.EINVAL, reason, path)


def find_read_problem(path: str) -> str:
    """Describe why a file or folder cannot be read; "" if it can."""
    try:
        check_regular(path)
    except OSError as error:
        return error.strerror or str(error)
    needed = os.R_OK | os.X_OK if Path(path).is_dir() else os.R_OK
    return "" if os.access(path, needed) else os.strerror(errno.EACCES)


class _SharedDescriptor:
    """A file that stays open between reads; its last reader closes it."""

    def __init__(self, path: str) -> None:
        check_regular(path)
        self.number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None:
            os.close(number)


@functools.lru_cache(maxsize=_MAX_OPEN_FILES)
def _open_shared(path: str) -> _SharedDescriptor:
    return _SharedDescriptor(path)


def close_shared() -> None:
    """Close all shared files; reads in progress finish first."""
    _open_shared.cache_clear()


def read_range(path: str, offset: int, length: int) -> bytes:
    """Read a byte range of a file; thread-safe.

    Raises:
      DataError: the file is missing, not regular, or shorter than the range.
      OSError: any error that a retry may resolve.
    """
    try:
        descriptor = _open_shared(path)
    except IrregularFileError as error:
        raise DataError(error.strerror) from None
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


_NUM_SAMPLES = 8
_SAMPLE_BYTES = 96 << 10


def find_version(path: str) -> str:
    """Return the size of a file and a hash of eight samples of it.

    This identifies an archive whatever its place and its times are, which differ after
    a copy. Files of up to 768 KiB are hashed whole. The samples of larger ones are
    evenly spaced, with the first header in the first, and the directory or footer in
    the last. A member of another length moves those behind it, so later samples differ
    too. What passes is a change between two samples that moves nothing: the positions
    of all images are then still right. A file costs 0.6 ms and eight seeks.

    Raises:
      FileNotFoundError: no such file.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        last = max(size - _SAMPLE_BYTES, 0)
        for number in range(_NUM_SAMPLES):
            start = last * number // (_NUM_SAMPLES - 1)
            digest.update(os.pread(file.fileno(), _SAMPLE_BYTES, start))
    return f"{size}-{digest.hexdigest()[:32]}"


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class AtomicFile:
    """Write a file that appears complete or not at all, and hash it meanwhile.

    In a bucket, the file is written locally first and then put in one request.

    Args:
      root: the directory of the dataset.
      path: path of the file, relative to the root.
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

        Raises:
          JobError: the disk is full.
        """
        with _room(self._final):
            self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._num_bytes

    def close(self) -> WrittenFile:
        """Publish the file under its name."""
        with _room(self._final):
            self._file.close()
            self._temporary.publish()
        return WrittenFile(self._path, self._num_bytes, self._hash.hexdigest())

    def discard(self) -> None:
        """Remove the temporary file; does nothing after `close`."""
        with suppress(OSError):  # there may be no room for what it still holds
            self._file.close()
        self._temporary.remove()


class _Temporary:
    """A temporary local file, beside its final path if possible.

    It stays locked, so that no other process removes it as stale.
    """

    def __init__(self, final: str) -> None:
        self._final = final
        if remote.is_remote(final):
            _sweep_once()
            self._descriptor, self.path = open_file()
            return
        place = Path(final)
        place.parent.mkdir(parents=True, exist_ok=True)
        mark = f"{os.getpid()}-{threading.get_ident()}"
        self.path = place.with_name(f".{place.name}.{mark}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._descriptor = os.open(self.path, flags, 0o666)
        try_lock(self._descriptor, self.path)

    def publish(self) -> None:
        """Move or upload the file to its final path."""
        if remote.is_remote(self._final):
            remote.put(self._final, self.path)
        else:
            self.path.replace(self._final)
        self.remove()

    def remove(self) -> None:
        """Remove the file; does nothing after `publish`."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


_sweep_once = functools.cache(remove_stale_files)


@contextmanager
def _room(final: str) -> Iterator[None]:
    """Translate a full disk into an error that names the path.

    Raises:
      JobError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        where = f"{tempfile.gettempdir()}, for " if remote.is_remote(final) else ""
        raise JobError(
            f"{where}{final}: cannot be written ({os.strerror(error.errno)}); make "
            "room and run the same command again (--resume continues a build)"
        ) from error


def clear_temporary(final: str) -> None:
    """Remove stale temporary files of a path."""
    place = Path(final)
    if not remote.is_remote(final) and place.parent.is_dir():
        remove_stale(place.parent, rf"\.{re.escape(place.name)}\.\d+-\d+\.tmp")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Open a temporary path to write; it replaces the file when the block succeeds.

    Raises:
      JobError: the disk is full.
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
    if remote.is_remote(root):
        remote.put(f"{root}/{path}", data)
        return WrittenFile(path, len(data), hashlib.sha256(data).hexdigest())
    file = AtomicFile(root, path)
    try:
        file.write(data)
        return file.close()
    finally:
        file.discard()
