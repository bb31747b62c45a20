"""Read, list and write local files and bucket objects.

Other packages access files through this module, and use `clients` only for store
settings and to parse URLs. `local` handles local paths, and `remote` URLs: `gs://`,
`s3://` and, for reading only, `hf://` (by `hub`).
"""

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partialmethod
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.records import DataError, JobError, UsageError, WrittenFile
from transforms.storage import hub, local, remote
from transforms.storage.remote import Entry as Entry

# Limits memory; no image of ImageNet has a hundredth of this size.
MAX_RANGE_BYTES = 1 << 28

_MAX_FILE_BYTES = 1 << 62  # offsets in damaged files may exceed any system's limit

# Threads that read from a bucket; they mostly wait.
_READERS_OF_BUCKETS = 16

COPY_BYTES = remote.CHUNK_BYTES  # of one request, when a file is read completely

is_remote = remote.is_remote


def scratch_folder(path: str, prefix: str) -> AbstractContextManager[str]:
    """Create a temporary local folder and remove it on exit.

    Args:
      path: a local path, beside which the folder is created, or a URL, for which it is
        created in the system's temporary folder.
      prefix: prefix of the folder's name.
    """
    if is_remote(path):
        return local.folder(None, prefix.lstrip("."))
    return local.folder(Path(path).absolute().parent, prefix)


def absolute(path: str) -> str:
    """Make a local path absolute; normalise the slashes of a URL."""
    if is_remote(path):
        scheme, _, rest = path.partition("://")
        return f"{scheme}://{PurePosixPath(rest)}"
    return str(Path(path).absolute())


def pin(path: str) -> str:
    """Return an absolute path to the same content even if its source changes.

    The revision of a path on the Hugging Face Hub becomes a commit; other paths have no
    revisions.

    Raises:
      UsageError: there is no such dataset or revision.
      OSError: the Hub did not respond, or refuses access.
    """
    return hub.pin(absolute(path)) if hub.is_hub(path) else absolute(path)


def list_revisions(paths: Iterable[str]) -> list[str]:
    """Return those paths that are on the Hugging Face Hub; `pin` makes them commits."""
    return list(filter(hub.is_hub, paths))


find_newer_commit = hub.find_newer
counting_fetched, describe_fetched = hub.counting, hub.describe_counts


def num_readers(num_threads: int, paths: Iterable[str]) -> int:
    """Return the number of reader threads that keep `num_threads` decoders busy.

    It is at least 16 if any path is in a bucket, because those reads mostly wait.
    """
    waits = any(map(is_remote, paths))
    return max(num_threads, _READERS_OF_BUCKETS) if waits else num_threads


def exists(path: str) -> bool:
    """Return whether a path is an existing file or folder, local or remote."""
    if is_remote(path):
        return remote.is_object(path) or remote.is_folder(path)
    return Path(path).exists()


def is_file(path: str) -> bool:
    """Return whether a path is a local file or an object."""
    return remote.is_object(path) if is_remote(path) else Path(path).is_file()


def is_folder(path: str) -> bool:
    """Return whether a path is a local folder, a bucket, or a prefix with objects."""
    if is_remote(path):
        return remote.is_folder(path)
    return Path(path).is_dir()


def find_read_problem(path: str) -> str:
    """Describe why a local file or folder cannot be read; "" if it can or is a URL."""
    return "" if is_remote(path) else local.find_read_problem(path)


def check_readable(path: str) -> None:
    """Check that a local file or folder can be read; accept any URL.

    Raises:
      UsageError: the path is missing, unreadable, or a pipe, socket or device.
    """
    if problem := find_read_problem(path):
        raise UsageError(f"{path}: {problem}")


def num_bytes(path: str) -> int:
    """Return the size of a file in bytes.

    Raises:
      OSError: the file is missing, or is a pipe, socket or device.
      UsageError: the bucket does not exist.
    """
    if is_remote(path):
        return remote.num_bytes(path)
    local.check_regular(path)
    return Path(path).stat().st_size


def read(path: str) -> bytes:
    """Read a whole file into memory; intended for small files.

    Raises:
      OSError: the file is missing or unreadable, or is a pipe, socket or device.
      UsageError: the bucket does not exist.
    """
    if is_remote(path):
        return remote.read(path)
    local.check_regular(path)
    return Path(path).read_bytes()


def open_input(path: str, *, version: str = "") -> BinaryIO:
    """Open a file for reading and seeking; the caller closes it.

    Args:
      path: the file.
      version: required version of an object, as `version` returns it; "" requires the
        version that this process read first. Ignored for local files.
    """
    if is_remote(path):
        return remote.open_input(path, version=version)
    local.check_regular(path)
    return Path(path).open("rb")


class _OneThread(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """A Parquet file that Arrow reads in the calling thread.

    Arrow's own threads may still hold a Python file when the interpreter ends, which
    aborts or hangs the process (https://github.com/apache/arrow/issues/50482).
    """

    read = partialmethod(pq.ParquetFile.read, use_threads=False)
    read_row_group = partialmethod(pq.ParquetFile.read_row_group, use_threads=False)
    iter_batches = partialmethod(pq.ParquetFile.iter_batches, use_threads=False)


def open_parquet(source: str | BinaryIO, **settings: Any) -> pq.ParquetFile:
    """Open a Parquet file and read its footer.

    Args:
      source: a path, or a file that stays open as long as it is read.
      **settings: settings of `pyarrow.parquet.ParquetFile`.

    Raises:
      ArrowException: the file is damaged.
      OSError: the file is missing, or is a pipe, socket or device.
      UsageError: the bucket does not exist.
    """
    if isinstance(source, str):
        if not is_remote(source):
            with contextlib.suppress(FileNotFoundError):  # pyarrow reports it
                local.check_regular(source)
            return pq.ParquetFile(source, **settings)
        source = remote.open_input(source)
    # Arrow reads ahead in other threads; opened objects have a buffer of their own.
    return _OneThread(source, pre_buffer=False, **settings)


def read_parquet(
    path: str,
    columns: Sequence[str] | None = None,
    **settings: Any,
) -> pa.Table:
    """Read a Parquet file, or some of its columns in the given order.

    Raises:
      KeyError: a column is missing.
      ArrowException, OSError, UsageError: as `open_parquet`.
    """
    if columns is None:
        return open_parquet(path, **settings).read()
    table = open_parquet(path, **settings).read(columns=list(columns))
    return table.select(list(columns))


def list_folder(path: str) -> list[Entry]:
    """List a folder, sorted by name; follow links and include hidden names."""
    if is_remote(path):
        return remote.list_folder(path)
    return local.list_folder(path)


def read_range(path: str, offset: int, length: int, *, version: str = "") -> bytes:
    """Read a byte range of a file; thread-safe.

    Args:
      path: the file.
      offset: start of the range in bytes.
      length: length of the range in bytes.
      version: required version of an object, as `version` returns it; "" requires the
        version that this process read first. Ignored for local files.

    Raises:
      DataError: the range is invalid, or the file is missing, shorter than the range,
        or of another version.
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
    """Return the version of a file, or of an object that this process has read.

    Return "" for folders, missing files, and objects that have not been read yet.

    Raises:
      DataError: the object has changed since it was first read.
    """
    if is_remote(path):
        return remote.version(path)
    return local.find_version(path) if Path(path).is_file() else ""


def find_changed(versions: Mapping[str, str]) -> list[str]:
    """Return the sorted paths that are missing or have another version.

    Args:
      versions: expected version of each file, by path.
    """

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
    """Close the files that `read_range` keeps open and forget object versions."""
    local.close_shared()
    remote.forget()


AtomicFile = local.AtomicFile
full_disk_errors = local.full_disk_errors
replacing = local.replacing
clear_temporary = local.clear_temporary
write = local.write


def describe_file(root: str, path: str) -> WrittenFile | None:
    """Return the size and SHA-256 of a file below `root`; None if it is missing."""
    try:
        with open_input(f"{root}/{path}") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # has readinto
            return WrittenFile(path, file.tell(), digest)
    except FileNotFoundError:
        return None


def list_files(root: str) -> Iterator[str]:
    """Yield the path of every file below a folder, relative to the folder.

    Local files are sorted by name within each folder, objects by their whole path.
    """
    if is_remote(root):
        yield from (name for name, _ in remote.list_files(root))
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name).relative_to(root).as_posix()


def list_sizes(root: str) -> Iterator[tuple[str, int | None]]:
    """Yield (relative path, size in bytes) of everything below a folder except folders.

    The size is None for links to folders, broken links, pipes and devices.
    """
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
    """Return the free disk space at a path in bytes; `sys.maxsize` for buckets."""
    if is_remote(path):
        return sys.maxsize
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def make_folder(path: str) -> None:
    """Create a local folder and its parents; do nothing for URLs."""
    if not is_remote(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def lock_folder(path: str) -> int:
    """Create and lock a local folder, as `local.lock_folder` does."""
    return local.lock_folder(Path(path))


def check_bucket(path: str) -> None:
    """Check that the bucket of a path exists and responds.

    Raises:
      OSError: the bucket is missing or does not respond.
    """
    remote.check_bucket(path)


def create(root: str, path: str, data: bytes) -> bool:
    """Create a small object below `root`; return False if it already exists."""
    return remote.put_if_absent(f"{root}/{path}", data)


def copy_folder(source: str, target: str) -> None:
    """Upload all files of a local folder to a URL prefix."""
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
    """Rename a local folder atomically.

    Raises:
      JobError: the rename failed, e.g. because `target` exists.
    """
    try:
        Path(source).rename(target)
    except OSError as error:
        raise JobError(f"cannot rename {source} to {target}: {error}") from error


def flush() -> None:
    """Flush all written files to disk with `sync`."""
    os.sync()


def check_replaceable(path: str, key: bytes, what: str) -> None:
    """Check that writing a Parquet file replaces no file of another kind.

    Args:
      path: the file to write.
      key: key of the metadata that all files of its kind have.
      what: the kind, e.g. "an index".

    Raises:
      UsageError: the path is a file of another kind, and is not empty.
    """
    if not is_file(path) or not num_bytes(path):
        return
    try:
        is_same_kind = key in (open_parquet(path).metadata.metadata or {})
    except (pa.ArrowException, OSError):
        is_same_kind = False
    if not is_same_kind:
        raise UsageError(
            f"--output {path}: exists and is not {what}; name another file, or remove "
            "this one"
        )


@contextlib.contextmanager
def parquet_errors(path: str, remedy: str = "download it again") -> Iterator[None]:
    """Translate pyarrow's errors about a damaged file into an error with its path.

    Args:
      path: path of the Parquet file.
      remedy: advice that ends the message.

    Raises:
      UsageError: the file is not a complete Parquet file, or has invalid strings.
      OSError: any error that a retry may resolve.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = " ".join(str(error).split())
        raise UsageError(
            f"{path}: not a complete Parquet file ({what:.200}); {remedy}"
        ) from error
