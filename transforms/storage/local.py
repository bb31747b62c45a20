"""Lock, list, read and atomically write local files.

A killed process leaves temporary files behind, but the system releases its locks. A
temporary file or folder without a lock is therefore stale, and the next process removes
it.
"""

import atexit
import errno
import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from transforms.records import DataError, JobError, UsageError, WrittenFile
from transforms.storage import remote
from transforms.storage.remote import Entry

_MARK = "imagenet_subsets-"
_MAX_AGE_S = 7 * 24 * 3600  # of another machine's scratch folder
_SHARED = "shared-"
_RANDOM = "[a-z0-9_]{8}"  # end of the names that tempfile generates


def try_lock(descriptor: int, path: Path) -> bool:
    """Try to lock an open file or folder until its descriptor is closed.

    Returns:
      False if another process holds the lock, or has removed or replaced the file;
      otherwise True, also on file systems without locks, where `remove_stale` removes
      no files.
    """
    try:
        _lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False


def lock_folder(path: Path) -> int:
    """Create a folder, lock it until the returned descriptor is closed, and return it.

    A folder that another process removes or renames meanwhile is created again. On file
    systems without locks, the folder is not locked.

    Raises:
      BlockingIOError: another process holds the lock.
      OSError: the folder cannot be created or opened.
    """
    while True:
        path.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as on_failure:
            descriptor = os.open(path, os.O_RDONLY)
            on_failure.callback(os.close, descriptor)
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                on_failure.pop_all()
                return descriptor


def _lock(descriptor: int) -> None:
    """Lock an open file, except on file systems without locks.

    Raises:
      BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def remove_stale(folder: Path, names: str, *, min_age_s: float = 0) -> None:
    """Remove unlocked files and folders in a folder.

    Args:
      folder: the folder; subfolders are not searched.
      names: regular expression that the whole name must match.
      min_age_s: seconds since the last change of a folder's list of files.
    """
    for path in list(folder.iterdir()):
        if re.fullmatch(names, path.name):
            with suppress(OSError):  # removed meanwhile, or another user's
                if time.time() - path.lstat().st_mtime >= min_age_s:
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
    """Create a locked temporary folder and remove it on exit.

    Stale folders with the same prefix, made on this machine, are removed first.

    Args:
      place: parent folder; None uses the system's temporary folder.
      prefix: prefix of the folder's name.
    """
    where = place or Path(tempfile.gettempdir())
    where.mkdir(parents=True, exist_ok=True)
    # Locks of folders on network file systems hold on one machine only.
    marked = prefix + _MARK
    prefix = f"{marked}{_find_machine()}-"
    remove_stale(where, re.escape(prefix) + _RANDOM)
    remove_stale(where, re.escape(marked) + ".*", min_age_s=_MAX_AGE_S)
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        descriptor = os.open(made, os.O_RDONLY)
        if try_lock(descriptor, made):
            break
        os.close(descriptor)  # another process removes it as stale
    try:
        yield str(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def _find_machine() -> str:
    """Return eight letters and digits that differ between machines."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def share_folder(identity: str, fill: Callable[[Path], None]) -> Path:
    """Return a temporary folder that all processes of this user and machine share.

    The first process fills it while the others wait. Every process holds a shared lock
    until it ends, and the last one removes the folder.

    Args:
      identity: identifies the content; at least 8 letters and digits.
      fill: writes the content to an empty folder.
    """
    where = Path(tempfile.gettempdir())
    prefix = f"{_SHARED}{os.getuid()}-{_MARK}"
    remove_stale(where, re.escape(prefix) + _RANDOM)
    shared = where / f"{prefix}{identity[:8]}"
    complete = shared / identity
    while True:
        shared.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(shared, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:  # another process has just removed it
            continue
        if os.fstat(descriptor).st_uid != os.getuid():
            os.close(descriptor)
            raise JobError(f"{shared}: belongs to another user; remove it")
        try:
            is_filled = _fill_once(descriptor, complete, fill)
        except BaseException:
            os.close(descriptor)
            raise
        if is_filled:
            atexit.register(_release, descriptor, shared)
            return complete
        os.close(descriptor)


def _fill_once(descriptor: int, complete: Path, fill: Callable[[Path], None]) -> bool:
    """Share a folder's lock, and fill the folder unless it is complete.

    Returns:
      False if another process has removed the folder in the meantime.
    """
    shared = complete.parent
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        if not os.path.samestat(os.fstat(descriptor), shared.stat()):
            return False
    except FileNotFoundError:
        return False
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            partial = complete.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fill(partial)
            partial.rename(complete)
    return True


def _release(descriptor: int, shared: Path) -> None:
    """Remove a shared folder if no other process holds it."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(shared, ignore_errors=True)


def open_file() -> tuple[int, Path]:
    """Create a locked temporary file; return its descriptor and path."""
    while True:
        number, name = tempfile.mkstemp(prefix=_MARK)
        if try_lock(number, Path(name)):
            return number, Path(name)
        os.close(number)


def remove_stale_files() -> None:
    """Remove files of killed processes from the system's temporary folder."""
    remove_stale(Path(tempfile.gettempdir()), re.escape(_MARK) + _RANDOM)


_MAX_OPEN_FILES = 128
_BROKEN_LINK = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}


def list_folder(path: str) -> list[Entry]:
    """List a folder, sorted by name; follow links and include hidden names."""
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
    """Raised for a pipe, socket or device where a regular file is required.

    Opening one may block for ever, and tables and archives are read more than once. The
    class derives from OSError for `strerror` and `filename`, and from UsageError
    because the user can fix it.
    """

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def check_regular(path: str) -> None:
    """Check that a path is a regular file or a folder.

    Raises:
      IrregularFileError: the path is a pipe, socket or device.
      OSError: the path does not exist, or a parent folder is not accessible.
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
    """A file descriptor that is closed when its last reference is dropped."""

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
    """Close all cached files, each after its reads in progress have finished."""
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
    """Return a version "SIZE-HASH" from the size and eight samples of a file.

    The version does not depend on the path or the modification time, so a copy has the
    same version. Files of up to 768 KiB are hashed completely. Of larger files, eight
    evenly spaced samples of 96 KiB each are hashed; the first sample contains the first
    header, and the last one the zip directory or Parquet footer. If a member's length
    changes, all later members move and later samples differ. Only a change between two
    samples that keeps all lengths is missed; all image offsets then remain valid. The
    cost is 0.6 ms and eight seeks per file; a file whose inode, size and times are as
    before is not read again.

    Raises:
      FileNotFoundError: the file does not exist.
    """
    with Path(path).open("rb") as file:  # network file systems revalidate on opening
        status = os.fstat(file.fileno())
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    if time.time_ns() - changed_ns < _SETTLED_NS:
        return _hash_samples(path)
    return _hash_settled(path, status.st_dev, status.st_ino, status.st_size, changed_ns)


# Clocks of file systems tick every few milliseconds, some every two seconds: two
# changes within a tick look the same.
_SETTLED_NS = 4 * 10**9


@functools.lru_cache(maxsize=4096)
def _hash_settled(path: str, *_identity: int) -> str:
    return _hash_samples(path)


def _hash_samples(path: str) -> str:
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
    """Write a file that appears only when it is complete, and compute its SHA-256.

    A file in a bucket is first written locally and uploaded when it is closed.

    Args:
      root: folder of the dataset.
      path: path of the file, relative to `root`.
    """

    def __init__(self, root: str, path: str) -> None:
        self._path = path
        self._final = f"{root}/{path}"
        self._hash = hashlib.sha256()
        self._num_bytes = 0
        with full_disk_errors(self._final):
            self._temporary = _Temporary(self._final)
            self._file = self._temporary.path.open("wb")

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
          JobError: the disk is full.
        """
        with full_disk_errors(self._final):
            self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._num_bytes

    @property
    def temporary_path(self) -> str:
        """The local path for a library that writes the whole file; see `adopt`."""
        return str(self._temporary.path)

    def adopt(self) -> None:
        """Hash and count the bytes that a library has written to `temporary_path`."""
        with self._temporary.path.open("rb") as file:
            while chunk := file.read(remote.CHUNK_BYTES):
                self._hash.update(chunk)
                self._num_bytes += len(chunk)

    def close(self) -> WrittenFile:
        """Move or upload the file to its final path; return its size and hash.

        Raises:
          JobError: the disk is full.
        """
        with full_disk_errors(self._final):
            self._file.close()
            self._temporary.publish()
        return WrittenFile(self._path, self._num_bytes, self._hash.hexdigest())

    def discard(self) -> None:
        """Remove the temporary file; do nothing after `close`."""
        with suppress(OSError):  # the disk may be too full for buffered bytes
            self._file.close()
        self._temporary.remove()


class _Temporary:
    """A locked temporary file, beside its final path or, for URLs, in the temp folder.

    The lock keeps other processes from removing the file as stale.
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
        """Remove the temporary file; do nothing after `publish`."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            # Ctrl-C can interrupt any line; a number must not be closed twice.
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


_sweep_once = functools.cache(remove_stale_files)


@contextmanager
def full_disk_errors(final: str) -> Iterator[None]:
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
    """Remove stale temporary files beside a local path; do nothing for URLs."""
    place = Path(final)
    if not remote.is_remote(final) and place.parent.is_dir():
        remove_stale(place.parent, rf"\.{re.escape(place.name)}\.\d+-\d+\.tmp")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield a temporary path; on success, move or upload the file there to `path`.

    Raises:
      JobError: the disk is full.
    """
    with full_disk_errors(path):
        temporary = _Temporary(path)
        try:
            yield str(temporary.path)
            temporary.publish()
        finally:
            temporary.remove()


def write(root: str, path: str, data: bytes) -> WrittenFile:
    """Write a small file below `root` atomically; return its size and SHA-256.

    Raises:
      JobError: the disk is full.
    """
    if remote.is_remote(root):
        remote.put(f"{root}/{path}", data)
        return WrittenFile(path, len(data), hashlib.sha256(data).hexdigest())
    file = AtomicFile(root, path)
    try:
        file.write(data)
        return file.close()
    finally:
        file.discard()
