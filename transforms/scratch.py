"""What a process needs only while it lives → locked, so that the next one clears it.

A killed process cleans up nothing, but its locks end with it: what bears one of our
names and nobody holds is left over.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "imagenet_subsets-"
_RANDOM = "[a-z0-9_]{8}"  # as tempfile makes names


def claim(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder until it is closed.

    Returns: False if another process has it, or has removed it meanwhile. Where the
      file system knows no locks, nobody can take it for a left-over either.
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


def sweep(folder: Path, names: str) -> None:
    """Remove from a folder what matches a pattern and nobody holds."""
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
    """Make a folder for the time of some work, and clear what killed ones left.

    Args:
      place: where; None: where the system has temporary files.
      prefix: of its name, which tells its kind.
    """
    where = place or Path(tempfile.gettempdir())
    where.mkdir(parents=True, exist_ok=True)
    sweep(where, re.escape(prefix + _MARK) + _RANDOM)
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix + _MARK, dir=where))
        descriptor = os.open(made, os.O_RDONLY)
        if claim(descriptor, made):
            break
        os.close(descriptor)  # taken for a left-over before it was locked
    try:
        yield str(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def open_file() -> tuple[int, Path]:
    """Make a temporary file; returns its descriptor, which holds it, and its path."""
    while True:
        number, name = tempfile.mkstemp(prefix=_MARK)
        if claim(number, Path(name)):
            return number, Path(name)
        os.close(number)


def sweep_files() -> None:
    """Clear the temporary files that killed processes left."""
    sweep(Path(tempfile.gettempdir()), re.escape(_MARK) + _RANDOM)
