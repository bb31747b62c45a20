"""List, read, put and remove objects in buckets, and detect changed objects."""

import errno
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from transforms.records import DataError, UsageError
from transforms.storage import hub
from transforms.storage.clients import (
    Location,
    Store,
    is_emulated,
    open_store,
    parse_location,
)

_MAX_PINNED = 4096


class Pins:
    """A bounded, thread-safe record of the etags of recently read objects."""

    def __init__(self) -> None:
        self._tags: OrderedDict[str, str] = OrderedDict()
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def get(self, path: str) -> str | None:
        """Return the etag of an object; None if unknown."""
        return self._tags.get(path)

    def has_changed(self, path: str) -> bool:
        """Return whether the etag of an object has changed since it was recorded."""
        return path in self._changed

    def set(self, path: str, tag: str | None) -> None:
        """Record an object's etag; None removes the record.

        Pass None after this process has written the object.
        """
        with self._lock:
            before = self._tags.pop(path, None)
            if before and tag and before != tag:
                self._changed.add(path)
            if tag:
                self._tags[path] = tag
            else:
                self._changed.discard(path)
            if len(self._tags) > _MAX_PINNED:
                self._tags.popitem(last=False)

    def clear(self) -> None:
        """Forget all etags."""
        with self._lock:
            self._tags.clear()
            self._changed.clear()


CHUNK_BYTES = 8 << 20  # of one request
_CONCURRENT_CHUNKS = 4
_MAX_MESSAGE = 300


class Entry(NamedTuple):
    """A file or folder in a listing."""

    name: str
    is_folder: bool
    num_bytes: int


_pins = Pins()


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Translate obstore's errors into `OSError` with the path and an error number."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, "no such object or bucket", path
        ) from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _no_permission(path, error) from error
    except InvalidPathError as error:
        what = f"contains a name that is not a path ({_first_line(error)})"
        raise OSError(errno.EINVAL, what, path) from error
    except BaseError as error:
        text = str(error)
        if "NoSuchBucket" in text or "404 Not Found" in text:
            raise FileNotFoundError(errno.ENOENT, "no such bucket", path) from None
        if "403 Forbidden" in text or "401 Unauthorized" in text:
            raise _no_permission(path, error) from error
        raise OSError(errno.EIO, _first_line(error), path) from error


def _no_permission(path: str, error: BaseException) -> PermissionError:
    """Return a permission error that includes the store's error code."""
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    what = f"no permission for these credentials ({code[1] if code else 'refused'})"
    return PermissionError(errno.EACCES, what, path)


@contextmanager
def _listing(path: str) -> Iterator[None]:
    """Translate the errors of a listing.

    Raises:
      UsageError: the bucket does not exist. Listing a missing prefix is no error.
      OSError: any other error.
    """
    try:
        with _translated(path):
            yield
    except FileNotFoundError:
        raise UsageError(
            f"{path}: no such bucket; check its name and --store_endpoint"
        ) from None


_buckets: set[tuple[str, str]] = set()  # that exist


def _require_bucket(path: str) -> None:
    """Check that a bucket exists, and cache the result.

    The error for a missing object does not show whether its bucket exists.

    Raises:
      UsageError: the bucket does not exist.
    """
    store, place = _open(path)
    if place[:2] not in _buckets:
        with suppress(PermissionError), _listing(path):  # a refusal shows it exists
            next(iter(obstore.list(store)), None)
        _buckets.add(place[:2])


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:_MAX_MESSAGE]


def forget() -> None:
    """Forget the versions of objects and the buckets known to exist."""
    _pins.clear()
    _buckets.clear()
    hub.forget()


def is_remote(path: str) -> bool:
    """Return whether a path is a URL."""
    return "://" in path


def _open(path: str) -> tuple[Store, Location]:
    place = parse_location(path)
    return open_store(place.scheme, place.bucket), place


def is_object(path: str) -> bool:
    """Return whether an object exists.

    Raises:
      UsageError: the bucket does not exist.
    """
    try:
        num_bytes(path)
    except FileNotFoundError:
        return False
    return True


def is_folder(path: str) -> bool:
    """Return whether a path is a bucket, or a prefix with at least one object.

    Raises:
      UsageError: the bucket does not exist.
    """
    if hub.is_hub(path):
        return hub.is_folder(path)
    store, place = _open(path)
    with _listing(path):
        first = next(iter(obstore.list(store, place.key or None)), None)
    return bool(first) or not place.key


def check_bucket(path: str) -> None:
    """Check that the bucket of a path exists and responds.

    Raises:
      OSError: the bucket is missing or does not respond.
    """
    store, place = _open(path)
    with _translated(path):
        next(iter(obstore.list(store, place.key or None)), None)


def num_bytes(path: str) -> int:
    """Return the size of an object in bytes, and record its version.

    Raises:
      FileNotFoundError: the object does not exist.
      UsageError: the bucket does not exist.
    """
    return _describe(path).num_bytes


def find_version(path: str) -> str:
    """Return the current version (etag) of an object, and record it.

    Raises:
      FileNotFoundError: the object does not exist.
      UsageError: the bucket does not exist.
    """
    return _describe(path).tag


class _Object(NamedTuple):
    """The size and version of an object."""

    num_bytes: int
    tag: str


def _describe(path: str) -> _Object:
    if hub.is_hub(path):
        file = hub.describe(path)
        _pins.set(path, file.version)
        return _Object(file.num_bytes, file.version)
    store, place = _open(path)
    if not place.key:
        raise FileNotFoundError(errno.ENOENT, "is a bucket, not an object", path)
    try:
        with _translated(path):
            described = obstore.head(store, place.key)
    except FileNotFoundError:
        _require_bucket(path)
        raise
    _pins.set(path, described["e_tag"])
    return _Object(described["size"], described["e_tag"] or "")


def version(path: str) -> str:
    """Return the recorded version of an object; "" if this process has not read it.

    Raises:
      DataError: the object has changed since it was first read.
    """
    if _pins.has_changed(path):
        raise DataError("the object changed while it was read")
    return _pins.get(path) or ""


def read(path: str) -> bytes:
    """Read a whole object into memory.

    Raises:
      OSError: the object is missing or changed while it was read, or the store failed.
      UsageError: the bucket does not exist.
    """
    size = num_bytes(path)
    chunks = range(0, size, CHUNK_BYTES)
    try:
        parts = [read_range(path, at, min(CHUNK_BYTES, size - at)) for at in chunks]
    except DataError as error:
        raise OSError(errno.EIO, str(error), path) from error
    return b"".join(parts)


def read_range(path: str, offset: int, length: int, *, version: str = "") -> bytes:
    """Read a byte range of an object in one request; thread-safe.

    Args:
      path: URL of the object.
      offset: start of the range in bytes.
      length: length of the range in bytes.
      version: required etag; "" requires the version that this process read first.

    Raises:
      DataError: the object is missing, shorter than the range, or has changed.
      OSError: the store did not respond, or responded with an error.
    """
    if not length:
        return b""
    if hub.is_hub(path):
        version = version or _pins.get(path) or ""
        return hub.read_range(path, offset, length, version=version)
    store, place = _open(path)
    pinned = version or _pins.get(path)
    options: obstore.GetOptions = {"range": (offset, offset + length)}
    if pinned:
        options["if_match"] = pinned
    try:
        with _translated(path):
            found = obstore.get(store, place.key, options=options)
            data = bytes(found.bytes())
    except FileNotFoundError:
        raise DataError("the object is gone") from None
    except OSError as error:
        if isinstance(error.__cause__, PreconditionError):
            raise DataError("the object has changed since it was first read") from None
        if "416 Range Not Satisfiable" in str(error.__cause__):
            raise DataError("the object ends before the range") from None
        raise
    if len(data) != length:
        raise DataError(f"the object ends {length - len(data)} bytes too early")
    if not pinned:
        _pins.set(path, found.meta["e_tag"])
    return data


def list_folder(path: str) -> list[Entry]:
    """List the files and folders directly below a prefix, sorted by name.

    Raises:
      FileNotFoundError: there are no objects below the prefix.
      UsageError: the bucket does not exist.
    """
    if hub.is_hub(path):
        return [Entry(*file[:3]) for file in hub.list_folder(path)]
    store, place = _open(path)
    with _listing(path):
        listed = obstore.list_with_delimiter(store, place.key or None)
    prefixes, objects = listed["common_prefixes"], listed["objects"]
    if place.key and not prefixes and not objects:
        raise FileNotFoundError(errno.ENOENT, "no such folder", path)
    folders = [Entry(_name(p), is_folder=True, num_bytes=0) for p in prefixes]
    files = [
        Entry(_name(o["path"]), is_folder=False, num_bytes=o["size"])
        for o in objects
        if o["path"] != place.key  # created by consoles to show an empty folder
    ]
    return sorted(folders + files)


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def list_files(root: str) -> Iterator[tuple[str, int]]:
    """Yield (relative path, size in bytes) of every object below a prefix, sorted."""
    if hub.is_hub(root):
        yield from hub.list_files(root)
        return
    store, place = _open(root)
    start = len(place.key) + 1 if place.key else 0
    with _listing(root):
        found = [o for part in obstore.list(store, place.key or None) for o in part]
    for described in sorted(found, key=lambda o: o["path"]):
        if name := described["path"][start:]:
            yield name, described["size"]


def put(path: str, data: bytes | Path, *, only_if_absent: bool = False) -> bool:
    """Put an object atomically.

    Args:
      path: URL of the object.
      data: contents of the object, or the path of a local file with the contents.
      only_if_absent: do not replace an existing object.

    Returns:
      True if the object was put; False if `only_if_absent` and it already exists.
    """
    store, place = _open(path)
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    in_parts = size > CHUNK_BYTES and not is_emulated(place.scheme)
    try:
        with _translated(path):
            obstore.put(
                store,
                place.key,
                data,
                mode="create" if only_if_absent else "overwrite",
                use_multipart=in_parts,
                chunk_size=CHUNK_BYTES,
                max_concurrency=_CONCURRENT_CHUNKS,
            )
    except OSError as error:
        if only_if_absent and isinstance(error.__cause__, AlreadyExistsError):
            return False
        raise
    _pins.set(path, None)
    return True


def remove(paths: Iterable[str]) -> None:
    """Remove objects, all in one bucket; ignore missing ones."""
    places = [parse_location(path) for path in paths]
    if not places:
        return
    store = open_store(places[0].scheme, places[0].bucket)
    keys = [place.key for place in places]
    where = f"{places[0].scheme}://{places[0].bucket}"
    with _translated(where):
        try:
            obstore.delete(store, keys)
        except FileNotFoundError:  # Google's store stops at a missing object
            for key in keys:
                with suppress(FileNotFoundError):
                    obstore.delete(store, key)


_BUFFER_BYTES, _BUFFER_BYTES_OF_HUB = (
    1 << 20,
    1 << 14,
)  # names and labels of a row group


class _ObjectFile(io.RawIOBase):
    """A seekable, read-only file object that reads an object by range requests."""

    def __init__(self, path: str, version: str) -> None:
        self._path = path
        self._version = version
        self._size = num_bytes(path)
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

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a buffer there
        length = min(len(buffer), self._size - self._position, CHUNK_BYTES)
        if length <= 0:
            return 0
        try:
            buffer[:length] = read_range(
                self._path, self._position, length, version=self._version
            )
        except DataError as error:
            raise OSError(errno.EIO, str(error), self._path) from error
        self._position += length
        return length


def open_input(path: str, *, version: str = "") -> BinaryIO:
    """Open an object for buffered reading and seeking.

    Args:
      path: URL of the object.
      version: required etag; "" requires the version that this process read first.
    """
    size = _BUFFER_BYTES_OF_HUB if hub.is_hub(path) else _BUFFER_BYTES
    return io.BufferedReader(_ObjectFile(path, version), buffer_size=size)


_MORE_TRIES = 3


def put_if_absent(path: str, data: bytes) -> bool:
    """Put an object unless it exists; return whether it was put.

    If the response to a conditional put is lost, obstore does not retry, because the
    put may have succeeded. This function retries, and treats an existing object with
    the same bytes as the result of its own first attempt.
    """
    for is_again in [False, *[True] * _MORE_TRIES]:
        try:
            is_put = put(path, data, only_if_absent=True)
            return is_put or (is_again and read(path) == data)
        except OSError as error:
            if not isinstance(error.__cause__, GenericError):
                raise
            lost = error
    raise lost
