"""Copy objects to local files, for libraries that only read local files."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from transforms import storage
from transforms.records import JobError, UsageError
from transforms.storage import local

_AT_ONCE = 8
_PREFIX = "copy-"


def share_copy(
    path: str, identity: str, *, beside: Callable[[str], Iterable[str]] = lambda _: ()
) -> str:
    """Copy an object or a prefix once for all processes of this user on this machine.

    The copy is removed when the last process has ended.

    Args:
      path: URL of an object or a prefix.
      identity: identifies the content; at least 8 characters.
      beside: returns, given the copy of an object, the paths of companion files
        relative to its folder; these are copied as well if they exist.

    Returns:
      The local path of the copy.
    """
    folder, _, name = path.rpartition("/")

    def copy(target: Path) -> None:
        if storage.is_folder(path):
            _copy_all(path, target / name)
            return
        _copy(path, target / name)
        for other in beside(str(target / name)):
            if storage.is_file(f"{folder}/{other}"):
                _copy(f"{folder}/{other}", target / other)

    return str(local.share_folder(identity, copy) / name)


@contextmanager
def stage_file(path: str) -> Iterator[str]:
    """Yield the path of a temporary local copy of a file; do not copy a local one.

    Args:
      path: local path or URL.
    """
    if not storage.is_remote(path):
        yield path
        return
    with storage.scratch_folder(path, _PREFIX) as folder:
        target = Path(folder, path.rpartition("/")[2])
        _copy(path, target)
        yield str(target)


@contextmanager
def stage_folder(path: str, *, wanted: Callable[[str], bool] = bool) -> Iterator[str]:
    """Yield the path of a temporary local copy of a folder; do not copy a local one.

    Args:
      path: local path or URL; the folder need not exist.
      wanted: returns whether to copy a file, given its path relative to the folder.

    Raises:
      UsageError: the local disk has too little free space.
    """
    if not storage.is_remote(path):
        yield path
        return
    with storage.scratch_folder(path, _PREFIX) as folder:
        _copy_all(path, Path(folder), wanted)
        with _named_as(folder, path):
            yield folder


def _copy_all(path: str, folder: Path, wanted: Callable[[str], bool] = bool) -> None:
    sizes = {n: s or 0 for n, s in storage.list_sizes(path) if wanted(n)}
    if sum(sizes.values()) > (free := storage.free_bytes(str(folder))):
        raise UsageError(
            f"{path}: {sum(sizes.values())} bytes are copied to {folder}, where "
            f"{free} are free; set TMPDIR to a folder on a larger disk"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        targets = [folder / name for name in sizes]
        list(pool.map(_copy, [f"{path}/{name}" for name in sizes], targets))


def _copy(path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with storage.open_input(path) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, storage.COPY_BYTES)


@contextmanager
def _named_as(folder: str, path: str) -> Iterator[None]:
    """Replace the copy's path `folder` by the original `path` in error messages."""
    try:
        yield
    except (UsageError, JobError) as error:
        raise type(error)(str(error).replace(folder, path)) from error
