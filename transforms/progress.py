"""Show a progress bar for work in several processes, or log phases as JSON.

Workers append one byte per finished unit of work to a file, so its size is the
number of finished units. An append takes a microsecond, needs no server, and works
across all processes on one machine.
"""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

INTERVAL_S = 0.2
_INTERVAL_IN_A_LOG_S = 30.0


class JsonLines(io.TextIOBase):
    """Write every line of text as a JSON object with level and message."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._incomplete_line = ""

    def write(self, text: str, /) -> int:
        """Write the complete lines of the text, and keep the rest for later."""
        *lines, self._incomplete_line = (self._incomplete_line + text).split("\n")
        for line in filter(str.strip, lines):
            level, colon, message = line.partition(": ")
            if colon and level.lower() in {"error", "warning"}:
                self.log(level=level.lower(), message=message)
            else:
                self.log(level="info", message=line)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def log(self, **fields: object) -> None:
        """Write one JSON object."""
        self._stream.write(json.dumps(fields) + "\n")
        self._stream.flush()


@contextmanager
def phase(name: str) -> Iterator[dict[str, int]]:
    """Measure a phase of a job; log it if stderr is a `JsonLines`.

    Yields:
      A dict for the counts to log with the phase.
    """
    counts: dict[str, int] = {}
    start_s = time.perf_counter()
    yield counts
    if isinstance(sys.stderr, JsonLines):
        seconds = round(time.perf_counter() - start_s, 3)
        sys.stderr.log(level="info", phase=name, seconds=seconds, **counts)


class Ticker:
    """Report finished units of work to the file at `path`; None disables reports."""

    _close = staticmethod(os.close)  # kept, because `os` may be gone at exit

    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = None if path is None else os.open(path, flags)

    def tick(self, count: int = 1) -> None:
        """Report `count` units as finished."""
        if self._descriptor is not None:
            with suppress(OSError):  # the writer of the data reports a full disk
                os.write(self._descriptor, b"." * count)

    def __del__(self) -> None:
        if (descriptor := getattr(self, "_descriptor", None)) is not None:
            self._close(descriptor)


def make_bar(
    what: str,
    *,
    total: int | None,
    unit: str,
    leave: bool = True,
    delay_s: float = 0,
    is_hidden: bool = False,
) -> tqdm:
    """Create a progress bar on stderr.

    It is redrawn every 0.2 s on a terminal and every 30 s otherwise, e.g. in a log. The
    environment variable TQDM_MININTERVAL, in seconds, overrides this interval. There is
    no bar if stderr is a `JsonLines`.

    Args:
      what: name of the activity.
      total: number of units; if None, only the count and the rate are shown.
      unit: name of a unit; for "B" (bytes), numbers are shown with SI prefixes.
      leave: whether the bar remains visible after it is closed.
      delay_s: seconds before the bar appears.
      is_hidden: whether the bar never appears.
    """
    usual_s = INTERVAL_S if sys.stderr.isatty() else _INTERVAL_IN_A_LOG_S
    interval_s = float(os.environ.get("TQDM_MININTERVAL", usual_s))
    return tqdm(
        desc=what,
        total=total,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        file=sys.stderr,
        leave=leave,
        delay=delay_s,
        disable=is_hidden or isinstance(sys.stderr, JsonLines),
        mininterval=interval_s,
        maxinterval=2 * interval_s,
    )


@contextmanager
def show(
    path: str | None, *, total: int | None, what: str, unit: str
) -> Iterator[None]:
    """Show a progress bar on stderr while the block runs.

    Args:
      path: file that workers append to; None shows no bar, e.g. for remote workers.
      total: number of units; if None, only the count and the rate are shown.
      what: name of the activity.
      unit: name of a unit.
    """
    if path is None:
        yield
        return
    Path(path).unlink(missing_ok=True)
    bar = make_bar(what, total=total, unit=unit)
    done = threading.Event()

    def follow() -> None:
        while not done.wait(INTERVAL_S):
            _advance(bar, path)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _advance(bar, path)
        bar.close()
        Path(path).unlink(missing_ok=True)


def _advance(bar: tqdm, path: str) -> None:
    place = Path(path)
    if place.exists():
        bar.update(place.stat().st_size - bar.n)
