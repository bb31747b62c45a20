"""End a job soon after Ctrl-C, even while it waits for an object store.

A request to a store blocks Python's Ctrl-C handler, and the interpreter joins all
threads before it exits, including those that wait for a store. A watcher thread
therefore receives the signal, gives the job one second to end by itself and then ends
the process. The next run removes the temporary files that remain.
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
    """End a process that uses buckets if it is still running one second after Ctrl-C.

    Args:
      message: error message to print when the process is ended.

    Attributes:
      is_said: whether the job has already printed the message.
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
        """Stop watching after the job has ended."""
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
    """Watch for Ctrl-C while a block runs in the main thread.

    If Ctrl-C ends the block, continue to watch until the process exits.

    Args:
      message: error message if the process does not end in time.
    """
    deadline = Deadline(message)
    try:
        yield deadline
    finally:
        if not deadline.is_said:  # otherwise threads may still have to be joined
            deadline.cancel()


@contextmanager
def patience() -> Iterator[None]:
    """Ignore a deadline after Ctrl-C that expires while a block runs."""
    _patient.set()
    try:
        yield
    finally:
        _patient.clear()
