"""End a job soon after Ctrl-C, even while it waits for a store.

A request to a store blocks Python's own handler of Ctrl-C, and the interpreter joins
all threads before it ends, also those that wait for a store. A thread therefore learns
of the signal by itself. It gives the job a moment to end in order, then it ends the
process. The files that such a job leaves, as a killed job does, go in the next run.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms.storage import clients

EXIT_CODE = 130
_GRACE_S = 1.0
_patient = threading.Event()


class Deadline:
    """End the process when it still runs a while after Ctrl-C, and uses buckets.

    Args:
      message: what to say about the end, unless `is_said`.
    """

    def __init__(self, message: str) -> None:
        self.is_said = False
        self._message = message
        self._is_over = threading.Event()
        self._signals, self._writer = socket.socketpair()
        self._signals.settimeout(None)  # Google's clients set a default
        self._writer.settimeout(0)  # as `set_wakeup_fd` requires
        self._before = signal.set_wakeup_fd(
            self._writer.fileno(), warn_on_full_buffer=False
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def cancel(self) -> None:
        """Stop watching: the job has ended."""
        self._is_over.set()
        signal.set_wakeup_fd(self._before)
        self._writer.close()

    def _watch(self) -> None:
        while received := self._signals.recv(1):
            if received[0] == signal.SIGINT and not self._is_over.wait(_GRACE_S):
                self._end()
        self._signals.close()

    def _end(self) -> None:
        if _patient.is_set() or not clients.is_any_open():
            return
        with suppress(OSError, ValueError):
            if not self.is_said:
                sys.stderr.write(f"\nerror: {self._message}\n")
            sys.stderr.flush()
        os._exit(EXIT_CODE)


@contextmanager
def watch(message: str) -> Iterator[Deadline]:
    """Watch for Ctrl-C in a block of the main thread, and after one that it ended.

    Args:
      message: what to say if the block does not end in time.
    """
    deadline = Deadline(message)
    try:
        yield deadline
    finally:
        if not deadline.is_said:  # otherwise threads may still have to be joined
            deadline.cancel()


@contextmanager
def patience() -> Iterator[None]:
    """Let a block end by itself after Ctrl-C, however long that takes."""
    _patient.set()
    try:
        yield
    finally:
        _patient.clear()
