"""Print warnings, and keep a job running if a standard stream fails.

A job that has written its dataset must succeed even if its output has no reader, or if
the terminal's encoding lacks a character of a path.
"""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

_ESCAPE = "imagenet_subsets.escape"
_STDIN, _STDOUT, _STDERR = range(3)
_NOBODY_READS = {errno.EPIPE, errno.EIO}  # a closed pipe, a terminal that is gone


class _Output(io.FileIO):
    """Raw output stream that tolerates a missing reader."""

    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write bytes; discard them if stderr fails or stdout has no reader.

        Raises:
          OSError: stdout failed for another reason, e.g. a full disk; raised once.
        """
        try:
            return super().write(data) or len(data)
        except OSError as error:
            is_lost = self.fileno() != _STDOUT or error.errno in _NOBODY_READS
            if is_lost or self._has_failed:
                return len(data)
            self._has_failed = True  # Python tries again when it ends
            raise OSError(error.errno, error.strerror, "stdout") from error


def protect() -> None:
    """Reopen closed standard streams, and make stdout and stderr fault-tolerant.

    Closed streams are connected to the null device. Failed writes to stderr are
    ignored. Failed writes to stdout raise OSError, unless stdout has no reader.
    """
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets this number, the lowest free one
            os.set_inheritable(number, True)  # noqa: FBT003  # positional only
    codecs.register_error(_ESCAPE, _escape)
    sys.stdout = _open(_STDOUT, sys.stdout, errors=_ESCAPE)
    sys.stderr = _open(_STDERR, sys.stderr, errors="backslashreplace")


def print_warnings(warnings: Iterable[str]) -> None:
    """Write warnings to stderr, each as a line."""
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")


def _open(number: int, before: TextIO | None, *, errors: str) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "wb", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors=errors,
        line_buffering=True,
        write_through=number == _STDERR,
    )


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Restore undecodable bytes of a path; escape other unencodable characters."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)
