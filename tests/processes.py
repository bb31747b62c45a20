"""Builds in processes of their own, which a test may stop at any moment.

Each is forked from a server that has everything imported, so that a moment chosen at
random falls into the build and not into Beam's import. It leads a group of its own.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines import build, index
from transforms import processes

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.processes", "pipelines.building.run"])


class RunningBuild:
    """A build, or another job, that has been started.

    Args:
      command: its command line.
      log: a file for what it says; "output" and "errors" lines together.
      environment: variables to set, e.g. of a store.
      job: build or index.
    """

    def __init__(
        self,
        command,
        log: Path,
        environment: Mapping[str, str] = {},
        job: str = "build",
    ) -> None:
        self._log = log
        self._process = _context.Process(
            target=_run, args=(list(command), str(log), dict(environment), job)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, timeout_s: float = 900) -> int:
        """Wait for its end; returns the exit code, negative: the signal."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"still at work after {timeout_s} s: {self.said}")
        return self._process.exitcode

    def wait_until(self, condition: Callable[[], object], timeout_s=900) -> None:
        """Wait for a moment; the build must not end before it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert not self.has_ended, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.0005)

    def stop(self, number: signal.Signals) -> int:
        """Send its group a signal, and wait for its end; returns the exit code."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has ended, or leads no group yet
            self._process.join(0.5)
            if self._process.exitcode is None:
                os.kill(self.pid, number)
        return self.wait()

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process.exitcode is not None

    @property
    def said(self) -> str:
        """What it has said."""
        return self._log.read_text() if self._log.exists() else ""


def _run(
    command: list[str], log: str, environment: Mapping[str, str], job: str
) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    processes.LEAST_IMAGES = 1  # small builds have processes as large ones do
    {"build": build, "index": index}[job].main(command)


def run(command, log: Path, environment: Mapping[str, str] = {}) -> tuple[int, str]:
    """Build to the end; returns the exit code and what was said."""
    started = RunningBuild(command, log, environment)
    return started.wait(), started.said
