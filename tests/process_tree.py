"""List the descendants of a process and sample their memory."""

import threading
from pathlib import Path


class SampledMemory:
    """Samples the memory of a process and its descendants until it ends.

    Pages shared by several processes are counted once in total (PSS).

    Args:
      pid: id of the process.
      interval_s: seconds between samples.
    """

    def __init__(self, pid: int, *, interval_s: float) -> None:
        self._samples: list[float] = []
        self._pid = pid
        self._interval_s = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> list[float]:
        """Stop sampling; return the samples in MiB."""
        self._done.set()
        self._thread.join()
        return self._samples

    def _follow(self) -> None:
        while not self._done.wait(self._interval_s):
            if used := sum(map(_measure, list_family(self._pid))):
                self._samples.append(used / 1024)


def list_children(pid: int) -> list[int]:
    """List the running children of a process; empty if it has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        words = [(task / "children").read_text().split() for task in tasks]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for line in words for word in line]


def list_workers(pid: int) -> list[int]:
    """List the children of a process without multiprocessing's resource tracker."""
    workers = []
    for child in list_children(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"resource_tracker" not in command:
            workers.append(child)
    return workers


def list_family(pid: int) -> list[int]:
    """List a process and all its descendants."""
    family = [pid]
    for member in family:
        family += list_children(member)
    return family


def _measure(pid: int) -> int:
    """Return the memory of a process in KiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
