"""Run work in processes of this machine, without Beam's workers."""

import contextlib
import json
import os
import queue
import signal
import subprocess  # nosec B404  # of a module of ours, without a shell
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

from transforms import process_worker
from transforms.records import JSON, JobError, UsageError


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


LEAST_IMAGES = 500  # what a process costs until it works; fewer are left to threads
_TIME_TO_STOP_S = 5.0


class ProcessPool:
    """A pool of processes that each do one piece of work at a time.

    Args:
      module: module of the work; its `begin(settings)` returns a function of a request.
      settings: settings of all work, as JSON.
      num_processes: number of processes.
    """

    def __init__(self, module: ModuleType, settings: JSON, num_processes: int) -> None:
        self._all = [_Process(module, settings) for _ in range(num_processes)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for each in self._all:
            self._idle.put(each)
        self._pool = ThreadPoolExecutor(num_processes)  # a thread for each to wait in

    def submit(self, request: JSON) -> Future[Any]:
        """Submit a request to the next idle process.

        Returns:
          A future. Its `result` raises what the work raises, or JobError if the process
          was killed.
        """
        return self._pool.submit(self._ask, request)

    def close(self) -> None:
        """End the processes; work in progress is discarded."""
        for each in self._all:
            each.stop()
        self._pool.shutdown(cancel_futures=True)
        for each in self._all:
            each.close()

    def _ask(self, request: JSON) -> Any:  # noqa: ANN401  # as each work returns it
        idle = self._idle.get()
        try:
            return idle.ask(request)
        finally:
            self._idle.put(idle)


class _Process:
    """A process and the pipes to it."""

    def __init__(self, module: ModuleType, settings: JSON) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # nosec B603  # a module of ours
            # -P: modules come from where this process has them, in the same order.
            [sys.executable, "-P", "-m", process_worker.__name__, module.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            bufsize=1,
            process_group=0,  # Ctrl-C is for the job, which ends them
        )
        self._write(settings)

    def ask(self, request: JSON) -> Any:  # noqa: ANN401  # as above
        """Send a request and wait for the answer."""
        self._write(request)
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line.endswith("\n"):
            raise JobError(self._describe_end())
        answer = json.loads(line)
        if "usage_error" in answer:
            raise UsageError(answer["usage_error"])
        if "job_error" in answer:
            raise JobError(answer["job_error"])
        return answer["done"]

    def stop(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """Wait until the process has ended."""
        try:
            self._process.wait(_TIME_TO_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _write(self, value: JSON) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer, or none, tells
            self._process.stdin.write(json.dumps(value) + "\n")  # type: ignore[union-attr]

    def _describe_end(self) -> str:
        code = self._process.wait()
        how = f"with exit code {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
        return (
            f"a process of this job was ended {how}; if memory was short, fewer "
            "--threads need less; run the same command again (a build goes on with "
            "--resume)"
        )
