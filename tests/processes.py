"""Run builds in separate processes that a test can stop at any moment.

Each is forked from a server with all imports done, so that a random moment falls into
the build rather than into Beam's import. Each leads its own process group.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines import build, index, predict, verify
from transforms import processes
from transforms.models import image_chunks

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.processes", "pipelines.building.run"])


class RunningBuild:
    """A build, or another job, in a separate process.

    Args:
      command: command line of the job.
      log: file for stdout and stderr.
      environment: environment variables to set, e.g. of a store.
      job: build, index, predict or verify.
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
        """Wait for the end; return the exit code, or the negative signal number."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"still running after {timeout_s} s: {self.said}")
        return self._process.exitcode

    def wait_until(self, condition: Callable[[], object], timeout_s=900) -> None:
        """Wait until a condition holds; the build must not end before."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert not self.has_ended, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.0005)

    def stop(self, number: signal.Signals) -> int:
        """Send a signal to the process group and wait; return the exit code."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has ended, or has no group yet
            self._process.join(0.5)
            if self._process.exitcode is None:
                os.kill(self.pid, number)
        return self.wait()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.exitcode is not None

    @property
    def said(self) -> str:
        """The contents of the log."""
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
    processes.LEAST_IMAGES = 1  # small builds use processes as large ones do
    image_chunks._CHUNK_IMAGES = 8  # and small predictions have many chunks
    jobs = {"build": build, "index": index, "predict": predict, "verify": verify}
    jobs[job].main(command)


def run(command, log: Path, environment: Mapping[str, str] = {}) -> tuple[int, str]:
    """Run a build; return its exit code and output."""
    started = RunningBuild(command, log, environment)
    return started.wait(), started.said
