"""Paths → listings, byte ranges and atomic files: the only door to where data lies.

A path is local, or gs://BUCKET/... or s3://BUCKET/...; see `stores` for the latter.
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
from transforms.storage.remote import Entry

# No image of ImageNet has a hundredth of this; bounds what is allocated.
MAX_RANGE_BYTES = 1 << 28

_MAX_FILE_BYTES = 1 << 62  # damaged directories name bytes that no system can count to

# Threads that read from a bucket: they wait far longer than they work.
_READERS_OF_BUCKETS = 16

COPY_BYTES = remote.CHUNK_BYTES  # one request of a file that is read whole

is_remote = remote.is_remote


def scratch_folder(path: str, prefix: str) -> AbstractContextManager[str]:
    """Make a local folder for the time of some work, beside a path if that is local."""
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
    """Return how many threads keep as many busy that make images of what they read."""
    waits = any(map(is_remote, paths))
    return max(num_threads, _READERS_OF_BUCKETS) if waits else num_threads


def exists(path: str) -> bool:
    """Tell whether a file or folder is there."""
    if is_remote(path):
        return remote.is_object(path) or remote.is_folder(path)
    return Path(path).exists()


def is_file(path: str) -> bool:
    """Tell whether a path is a file."""
    return remote.is_object(path) if is_remote(path) else Path(path).is_file()


def is_folder(path: str) -> bool:
    """Tell whether a path is a folder."""
    if is_remote(path):
        return remote.is_folder(path)
    return Path(path).is_dir()


def num_bytes(path: str) -> int:
    """Return the size of a file."""
    if is_remote(path):
        return remote.num_bytes(path)
    return Path(path).stat().st_size


def read(path: str) -> bytes:
    """Read a small file whole."""
    if is_remote(path):
        return remote.read(path)
    return Path(path).read_bytes()


def open_input(path: str, *, version: str = "") -> BinaryIO:
    """Open a file to read and seek in; whoever opens it closes it."""
    if is_remote(path):
        return remote.open_input(path, version=version)
    return Path(path).open("rb")


def for_arrow(path: str) -> str | BinaryIO:
    """Return what pyarrow reads a file by: its path, as long as it is local."""
    return remote.open_input(path) if is_remote(path) else path


def list_folder(path: str) -> list[Entry]:
    """List a folder by name, links followed, hidden names included."""
    if is_remote(path):
        return remote.list_folder(path)
    return local.list_folder(path)


def read_range(path: str, offset: int, length: int, *, version: str = "") -> bytes:
    """Read part of a file; safe from many threads.

    Args:
      path: of the file.
      offset: of the part.
      length: of the part.
      version: of an object in a bucket, as `version` returned it; "": any.

    Raises:
      DataError: the file is gone, shorter than the range, or of another version.
      OSError: anything that another try may mend.
    """
    if not 0 <= offset < _MAX_FILE_BYTES:
        raise DataError(f"no file has a byte {offset}")
    if length > MAX_RANGE_BYTES:
        raise DataError(f"{length} bytes are over the bound of {MAX_RANGE_BYTES}")
    if is_remote(path):
        return remote.read_range(path, offset, length, version=version)
    return local.read_range(path, offset, length)


def version(path: str) -> str:
    """Return the version of an object that was read; "" of folders and local files.

    Raises: DataError: it changed since it was read first.
    """
    return remote.version(path) if is_remote(path) else ""


def find_changed(versions: Mapping[str, str]) -> list[str]:
    """Return the objects that are gone, or of another version than they were."""

    def has_changed(path: str) -> bool:
        try:
            return remote.find_version(path) != versions[path]
        except FileNotFoundError:
            return True

    with ThreadPoolExecutor(_READERS_OF_BUCKETS) as pool:
        paths = sorted(versions)
        answers = pool.map(has_changed, paths)
        return [path for path, changed in zip(paths, answers, strict=True) if changed]


def forget_open_files() -> None:
    """Close the files that `read_range` keeps open, and forget versions of objects."""
    local.close_shared()
    remote.forget_versions()


AtomicFile = local.AtomicFile
replacing = local.replacing
clear_temporary = local.clear_temporary
write = local.write


def describe_file(root: str, path: str) -> WrittenFile | None:
    """Hash a file again; None when it is not there."""
    try:
        with open_input(f"{root}/{path}") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return WrittenFile(path, file.tell(), digest)
    except FileNotFoundError:
        return None


def list_files(root: str) -> Iterator[str]:
    """Yield every file below a folder, relative to it, by name."""
    if is_remote(root):
        yield from (name for name, _ in remote.list_files(root))
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name).relative_to(root).as_posix()


def list_sizes(root: str) -> Iterator[tuple[str, int | None]]:
    """Yield every name that is no folder, with its size; None if it is no file."""
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
    """Return the free space where a path lies or would lie; a bucket has no end."""
    if is_remote(path):
        return sys.maxsize
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def make_folder(path: str) -> None:
    """Make a folder and those above it; a bucket has none."""
    if not is_remote(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def check_bucket(path: str) -> None:
    """See that a path's bucket is there and answers.

    Raises: OSError: it is not, or does not.
    """
    remote.check_bucket(path)


def create(root: str, path: str, data: bytes) -> bool:
    """Put a small file into a bucket unless one is there; returns whether it was."""
    return remote.put_if_absent(f"{root}/{path}", data)


def copy_folder(source: str, target: str) -> None:
    """Copy a local folder's files into a bucket."""
    with ThreadPoolExecutor(_READERS_OF_BUCKETS) as pool:
        names = list(list_files(source))
        places = [Path(source, name) for name in names]
        list(pool.map(remote.put, [f"{target}/{name}" for name in names], places))


def remove_file(path: str) -> None:
    """Remove a file; harmless when it is not there."""
    if is_remote(path):
        remote.remove([path])
    else:
        Path(path).unlink(missing_ok=True)


def remove_folder(path: str) -> None:
    """Remove a folder and all in it; harmless when it is not there."""
    if is_remote(path):
        remote.remove(f"{path}/{name}" for name in list_files(path))
        return
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


@contextlib.contextmanager
def parquet_errors(path: str, remedy: str = "download it again") -> Iterator[None]:
    """Name the file that is damaged, within its footer or a page of it.

    Raises:
      UsageError: the file is no whole Parquet file, or holds texts that are none.
      OSError: anything that another try may mend.
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
