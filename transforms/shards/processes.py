"""Shards → processes of this machine that write them side by side.

Threads share Python's lock, which an image needs for 0.7 ms: however many cores there
are, they make no more than 1,400 images a second.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess  # of a module of ours, without a shell
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from transforms.records import JobError, Shard, UsageError
from transforms.shards import process
from transforms.shards.maker import ShardSettings

# What a process costs until it writes, in images; fewer than that are made by threads.
_LEAST_IMAGES = 500
_MANY_SHARDS = 8  # of a process: one more or less is no matter
_TIME_TO_STOP_S = 5.0


class Outcome(NamedTuple):
    """What came of a shard."""

    shard: Shard
    num_images: int
    num_failures: int


def count_processes(num_at_once: int, num_shards: int, num_images: int) -> int:
    """Return how many processes keep so many cores busy to the end; 1: this one.

    Shards are nearly equal, so that processes end together if all write equally many.
    Where each writes few, more processes than cores are no loss: they share these.
    """
    each = max(num_shards // num_at_once, 1)
    most = num_at_once if each >= _MANY_SHARDS else -(-num_shards // each)
    return max(min(most, num_images // _LEAST_IMAGES), 1)


class ShardProcesses:
    """Processes that write a shard each at a time."""

    def __init__(self, settings: ShardSettings, num_processes: int) -> None:
        self._all = [_Process(settings) for _ in range(num_processes)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for each in self._all:
            self._idle.put(each)
        self._pool = ThreadPoolExecutor(num_processes)  # a thread for each to wait in

    def submit(self, shard: Shard) -> Future[Outcome]:
        """Let a shard be written as soon as a process is idle.

        Returns: What came of it, later. Raises then what writing raises, and JobError
          where the process has been ended by another.
        """
        return self._pool.submit(self._make, shard)

    def close(self) -> None:
        """End the processes; a shard that is being written is discarded."""
        for each in self._all:
            each.stop()
        self._pool.shutdown(cancel_futures=True)
        for each in self._all:
            each.close()

    def _make(self, shard: Shard) -> Outcome:
        idle = self._idle.get()
        try:
            return idle.make(shard)
        finally:
            self._idle.put(idle)


class _Process:
    """One process, and the pipes to it."""

    def __init__(self, settings: ShardSettings) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # a module of ours
            [sys.executable, "-m", process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            bufsize=1,
            process_group=0,  # Ctrl-C is for the job, which ends them
        )
        self._write(process.to_line(settings))

    def make(self, shard: Shard) -> Outcome:
        """Wait until it has written a shard."""
        self._write(json.dumps(shard) + "\n")
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line.endswith("\n"):
            raise JobError(self._describe_end())
        answer = json.loads(line)
        if "usage_error" in answer:
            raise UsageError(answer["usage_error"])
        if "job_error" in answer:
            raise JobError(answer["job_error"])
        return Outcome(shard, **answer)

    def stop(self) -> None:
        """Let it end."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """Wait for its end."""
        try:
            self._process.wait(_TIME_TO_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer, or none, tells
            self._process.stdin.write(line)  # type: ignore[union-attr]

    def _describe_end(self) -> str:
        code = self._process.wait()
        how = (
            f"with exit code {code}"
            if code >= 0
            else f"by {signal.Signals(-code).name}"
        )
        return (
            f"a process that wrote shards was ended {how}; if memory was short, fewer "
            "--threads need less; the same command with --resume goes on"
        )
