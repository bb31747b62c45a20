"""Read, list and write files: the only module that other rooms use for storage.

A path is local, or a `gs://` or `s3://` URL; `remote` handles the latter.
"""

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa

from transforms.records import DataError, JobError, UsageError, WrittenFile
from transforms.storage import local, remote
from transforms.storage.remote import Entry as Entry

# No image of ImageNet has a hundredth of this; bounds what is allocated.
MAX_RANGE_BYTES = 1 << 28

_MAX_FILE_BYTES = 1 << 62  # damaged directories name bytes that no system can count to

# Threads that read from a bucket: they wait far longer than they work.
_READERS_OF_BUCKETS = 16

COPY_BYTES = remote.CHUNK_BYTES  # one request of a file that is read whole

is_remote = remote.is_remote


def scratch_folder(path: str, prefix: str) -> AbstractContextManager[str]:
    """Open a temporary local folder, beside a path if the path is local."""
    if is_remote(path):
        return local.folder(None, prefix.lstrip("."))
    return local.folder(Path(path).absolute().parent, prefix)


def absolute(path: str) -> str:
    """Return a path that does not depend on the working directory."""
    if is_remote(path):
        scheme, _, rest = path.partition("://")
        return f"{scheme}://{PurePosixPath(rest)}"
    return str(Path(path).absolute())


def num_readers(num_threads: int, paths: Iterable[str]) -> int:
    """Return the number of threads that keep `num_threads` image decoders busy."""
    waits = any(map(is_remote, paths))
    return max(num_threads, _READERS_OF_BUCKETS) if waits else num_threads


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    if is_remote(path):
        return remote.is_object(path) or remote.is_folder(path)
    return Path(path).exists()


def is_file(path: str) -> bool:
    """Return whether a path is a file."""
    return remote.is_object(path) if is_remote(path) else Path(path).is_file()


def is_folder(path: str) -> bool:
    """Return whether a path is a folder."""
    if is_remote(path):
        return remote.is_folder(path)
    return Path(path).is_dir()


def find_read_problem(path: str) -> str:
    """Describe why a local file or folder cannot be read; "" if it can."""
    return "" if is_remote(path) else local.find_read_problem(path)


def check_readable(path: str) -> None:
    """Check that a local file or folder can be read.

    Raises:
      UsageError: no permission, or a pipe, a socket or a device.
    """
    if problem := find_read_problem(path):
        raise UsageError(f"{path}: {problem}")


def num_bytes(path: str) -> int:
    """Return the size of a file in bytes."""
    if is_remote(path):
        return remote.num_bytes(path)
    local.check_regular(path)
    return Path(path).stat().st_size


def read(path: str) -> bytes:
    """Read a small file."""
    if is_remote(path):
        return remote.read(path)
    local.check_regular(path)
    return Path(path).read_bytes()


def open_input(path: str, *, version: str = "") -> BinaryIO:
    """Open a file for reading and seeking; the caller closes it."""
    if is_remote(path):
        return remote.open_input(path, version=version)
    local.check_regular(path)
    return Path(path).open("rb")


def for_arrow(path: str) -> str | BinaryIO:
    """Return the argument that pyarrow opens a file by: the path, if it is local."""
    if is_remote(path):
        return remote.open_input(path)
    with contextlib.suppress(FileNotFoundError):  # pyarrow reports it
        local.check_regular(path)
    return path


def list_folder(path: str) -> list[Entry]:
    """List a folder by name; links are followed, hidden names are included."""
    if is_remote(path):
        return remote.list_folder(path)
    return local.list_folder(path)


def read_range(path: str, offset: int, length: int, *, version: str = "") -> bytes:
    """Read a byte range of a file; thread-safe.

    Args:
      path: the file.
      offset: start of the range in bytes.
      length: length of the range in bytes.
      version: the version of an object, as returned by `version`; "" accepts any.

    Raises:
      DataError: the file is missing, shorter than the range, or of another version.
      OSError: any error that a retry may resolve.
    """
    if not 0 <= offset < _MAX_FILE_BYTES:
        raise DataError(f"no file has a byte {offset}")
    if length > MAX_RANGE_BYTES:
        raise DataError(f"{length} bytes are over the bound of {MAX_RANGE_BYTES}")
    if is_remote(path):
        return remote.read_range(path, offset, length, version=version)
    return local.read_range(path, offset, length)


def version(path: str) -> str:
    """Return the version of a file, or of an object that was read; "" for folders.

    Raises:
      DataError: the object has changed since it was first read.
    """
    if is_remote(path):
        return remote.version(path)
    return local.find_version(path) if Path(path).is_file() else ""


def find_changed(versions: Mapping[str, str]) -> list[str]:
    """Return the files that are missing or have another version."""

    def has_changed(path: str) -> bool:
        find_version = remote.find_version if is_remote(path) else local.find_version
        try:
            return find_version(path) != versions[path]
        except (FileNotFoundError, NotADirectoryError):
            return True

    with ThreadPoolExecutor(_READERS_OF_BUCKETS) as pool:
        paths = sorted(versions)
        answers = pool.map(has_changed, paths)
        return [path for path, changed in zip(paths, answers, strict=True) if changed]


def forget_open_files() -> None:
    """Close the files that `read_range` keeps open; forget the versions of objects."""
    local.close_shared()
    remote.forget()


AtomicFile = local.AtomicFile
replacing = local.replacing
clear_temporary = local.clear_temporary
write = local.write


def describe_file(root: str, path: str) -> WrittenFile | None:
    """Return size and hash of a file; None if it does not exist."""
    try:
        with open_input(f"{root}/{path}") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return WrittenFile(path, file.tell(), digest)
    except FileNotFoundError:
        return None


def list_files(root: str) -> Iterator[str]:
    """Yield every file below a folder, as relative paths sorted by name."""
    if is_remote(root):
        yield from (name for name, _ in remote.list_files(root))
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name).relative_to(root).as_posix()


def list_sizes(root: str) -> Iterator[tuple[str, int | None]]:
    """Yield every name that is not a folder with its size; None if it is not a file."""
    if is_remote(root):
        yield from remote.list_files(root)
        return
    for folder, subfolders, names in os.walk(root):
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        for name in [*names, *links]:
            place = Path(folder, name)
            size = place.stat().st_size if place.is_file() else None
            yield place.relative_to(root).as_posix(), size


def free_bytes(path: str) -> int:
    """Return the free space at a path in bytes; buckets are unlimited."""
    if is_remote(path):
        return sys.maxsize
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def make_folder(path: str) -> None:
    """Create a folder and its parents; does nothing for buckets."""
    if not is_remote(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def check_bucket(path: str) -> None:
    """Check that the bucket of a path exists and responds.

    Raises:
      OSError: it does not.
    """
    remote.check_bucket(path)


def create(root: str, path: str, data: bytes) -> bool:
    """Create a small file in a bucket; return False if it exists."""
    return remote.put_if_absent(f"{root}/{path}", data)


def copy_folder(source: str, target: str) -> None:
    """Copy the files of a local folder to a bucket."""
    with ThreadPoolExecutor(_READERS_OF_BUCKETS) as pool:
        names = list(list_files(source))
        places = [Path(source, name) for name in names]
        list(pool.map(remote.put, [f"{target}/{name}" for name in names], places))


def remove_file(path: str) -> None:
    """Remove a file if it exists."""
    if is_remote(path):
        remote.remove([path])
    else:
        Path(path).unlink(missing_ok=True)


def remove_folder(path: str) -> None:
    """Remove a folder and its contents if it exists."""
    if is_remote(path):
        remote.remove(f"{path}/{name}" for name in list_files(path))
        return
    if Path(path).is_dir():
        shutil.rmtree(path)


def rename_folder(source: str, target: str) -> None:
    """Rename a folder atomically.

    Raises:
      JobError: the new name exists.
    """
    try:
        Path(source).rename(target)
    except OSError as error:
        raise JobError(f"{source} could not become {target}: {error}") from error


def flush() -> None:
    """Flush written files to the disk, before the commit mark is written."""
    os.sync()


@contextlib.contextmanager
def parquet_errors(path: str, remedy: str = "download it again") -> Iterator[None]:
    """Translate pyarrow's errors about a damaged file into an error that names it.

    Raises:
      UsageError: the file is not a complete Parquet file, or holds invalid strings.
      OSError: any error that a retry may resolve.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = " ".join(str(error).split())
        raise UsageError(
            f"{path}: not a whole Parquet file ({what:.200}); {remedy}"
        ) from error
