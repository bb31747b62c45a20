"""Run processes and measure their time, CPU time and peak memory."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.process_tree import SampledMemory

T = TypeVar("T")
_SAMPLE_S = 0.1


class Usage(NamedTuple):
    """Resources used by a process and the children that it waited for."""

    seconds: float
    cpu_s: float
    peak_mb: float  # of the largest process; with `sums_memory`, of all together
    output: str
    read_bytes: int  # by system calls, from the page cache too
    written_bytes: int


def run(
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    sums_memory: bool = False,
) -> Usage:
    """Run a process and measure it.

    Args:
      words: command line.
      environment: variables to set.
      sums_memory: sample the memory of all processes together; costs some time.

    Raises:
      RuntimeError: the process failed; the message holds its output.
    """
    before = _count_bytes()
    started = time.perf_counter()
    with subprocess.Popen(
        list(words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    ) as process:
        memory = None
        if sums_memory:
            memory = SampledMemory(process.pid, interval_s=_SAMPLE_S)
        output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    samples = memory.stop() if memory else []
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}\n{output}")
    return Usage(
        seconds,
        usage.ru_utime + usage.ru_stime,
        max([usage.ru_maxrss / 1024, *samples]),
        output,
        *(after - first for after, first in zip(_count_bytes(), before, strict=True)),
    )


def _count_bytes() -> tuple[int, int]:
    """Return the bytes read and written by this process and its ended children."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["wchar"])


def run_module(
    module: str,
    *words: object,
    environment: Mapping[str, str] | None = None,
    sums_memory: bool = False,
) -> Usage:
    """Run a module of this project in a separate process, as `run` does."""
    command = [sys.executable, "-m", module, *map(str, words)]
    return run(command, environment=environment, sums_memory=sums_memory)


def alternate(
    sides: Mapping[str, Callable[[], T]], repetitions: int
) -> dict[str, list[T]]:
    """Run all sides `repetitions` times, in alternating order: AB BA AB …"""
    results: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(repetitions):
        names = list(sides)
        for name in names if turn % 2 == 0 else reversed(names):
            results[name].append(sides[name]())
    return results


def divide(over: Sequence[Usage], under: Sequence[Usage], what: str) -> list[float]:
    """Return the ratio of a measure, e.g. "seconds", of each pair of runs."""
    pairs = zip(over, under, strict=True)
    return [getattr(a, what) / getattr(b, what) for a, b in pairs]


def list_times(taken: Mapping[str, Sequence[Usage]]) -> dict[str, list[float]]:
    """List the time and CPU time of all runs, by side and measure."""
    return {
        f"{name}_{what}": [getattr(usage, what) for usage in usages]
        for name, usages in taken.items()
        for what in ("seconds", "cpu_s")
    }


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def show(values: Sequence[float], digits: int = 2) -> str:
    """Format the median, and minimum and maximum if there are several values."""
    middle = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"
