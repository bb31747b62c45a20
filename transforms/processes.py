"""Count the usable cores, and run work in several processes on this machine.

`ProcessPool` wraps a `ProcessPoolExecutor` with the `spawn` start method. In addition,
its processes end whenever the job ends, even if it is killed. They ignore Ctrl-C, print
only to stderr, and do not import the job's main module again. If a process is killed,
the error names the signal and a remedy.
"""

import contextlib
import importlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from transforms.hidden_imports import hide_pandas_from_arrow
from transforms.records import JSON, JobError, UsageError

# Starting a process costs as much as this many images; threads take smaller inputs.
LEAST_IMAGES = 500
_TIME_TO_STOP_S = 5.0
_CGROUPS = Path("/sys/fs/cgroup")


def num_cores() -> int:
    """Return the number of cores that this process may use.

    This is the minimum of the CPU affinity and the container's CPU quotas, each rounded
    up to whole cores.
    """
    return max(1, min([_count_affinity(), *_read_cpu_quotas()]))


def _count_affinity() -> int:
    """Return the number of cores that the scheduler may run this process on."""
    with contextlib.suppress(AttributeError, OSError):
        return os.process_cpu_count() or 1  # type: ignore[attr-defined]  # from 3.13
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))  # not on macOS
    return os.cpu_count() or 1


def _read_cpu_quotas() -> Iterator[int]:
    """Yield the CPU quota, in cores, of each control group that has one."""
    for folder in _control_groups():
        # "max" (version 2) and -1 (version 1) mean no limit.
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            yield math.ceil(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:
                yield math.ceil(int(quota) / int(period))


def _control_groups() -> Iterator[Path]:
    """Yield the folders of control groups (cgroups) that may limit this process's CPU.

    They are the process's own groups and their parents.
    """
    lines = ["0::/", "1:cpu:/"]
    with contextlib.suppress(OSError, ValueError):
        lines += Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / "cpu" if controllers else _CGROUPS
        group = root / path.lstrip("/")
        yield from (group, *group.parents)


class ProcessPool:
    """Handle requests in several processes, each one request at a time.

    Args:
      module: module with a function `begin(settings)`, which each process calls once;
        it returns the function that handles a request.
      settings: argument of `begin`.
      num_processes: number of processes.
    """

    def __init__(self, module: ModuleType, settings: JSON, num_processes: int) -> None:
        self._context = _Context()
        self._processes = ProcessPoolExecutor(
            num_processes,
            mp_context=self._context,
            initializer=_initialise,
            initargs=(module.__name__, settings),
        )
        # One thread per process waits for results and translates errors.
        self._threads = ThreadPoolExecutor(num_processes)
        self._lock = threading.Lock()
        self._is_closed = False

    def submit(self, request: object) -> Future[Any]:
        """Queue a request, to be handled as soon as a process is idle.

        Args:
          request: passed to the handler; it must be picklable.

        Returns:
          Future of the handler's result. It raises the handler's UsageError, or a
          JobError for any other error or if a process of the pool was killed.
        """
        return self._threads.submit(self._ask, request)

    def close(self) -> None:
        """Terminate the processes and discard running and queued requests."""
        self._end_processes()
        self._threads.shutdown(cancel_futures=True)

    def _ask(self, request: object) -> Any:
        try:
            result, error = self._send(request).result()
        except BrokenProcessPool:
            self._end_processes()
            raise JobError(_describe_end(self._context.processes)) from None
        if error:
            raise error
        return result

    def _send(self, request: object) -> Future[Any]:
        with self._lock:  # this may start a process, which `close` has to end
            if self._is_closed:
                raise BrokenProcessPool
            try:
                return self._processes.submit(_handle, request)
            except OSError as error:
                if str(error) != "handle is closed":
                    raise
                # The executor found a process dead, and is closing its pipe meanwhile.
                raise BrokenProcessPool from None

    def _end_processes(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            deadline = time.monotonic() + _TIME_TO_STOP_S
            running = {}
            for process in self._context.processes:
                if process.pid is not None:
                    process.terminate()
                    running[process.sentinel] = process
            while running and (left_s := deadline - time.monotonic()) > 0:
                for sentinel in connection.wait(list(running), left_s):
                    del running[sentinel]  # type: ignore[arg-type]  # an int
            for process in running.values():
                process.kill()
            self._processes.shutdown(cancel_futures=True)


def _describe_end(processes: Sequence[SpawnProcess]) -> str:
    """Return a message with the signal or exit code that broke the pool.

    The pool ends the other processes with SIGTERM, so another code takes precedence.
    """
    codes = [process.exitcode for process in processes]
    unusual = [code for code in codes if code not in {None, 0, -signal.SIGTERM}]
    code = unusual[0] if unusual else -signal.SIGTERM
    how = f"with exit code {code}"
    if code is not None and code < 0:
        how = f"by {signal.Signals(-code).name}"
    return (
        f"a process of this job was ended {how}; if memory was short, use "
        "fewer --threads; run the same command again (--resume continues a build)"
    )


class _Context(SpawnContext):
    """Context whose processes block Ctrl-C and do not import the main module.

    It records all processes that it creates.
    """

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802  # its name
        process = _Process(*args, **kwargs)
        self.processes.append(process)
        return process


class _Process(SpawnProcess):
    def start(self) -> None:
        # A new process inherits the mask, and is never interrupted while it imports.
        # The tracker clears the mask when it starts, so it must run before.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _hide_main_module():
                super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _hide_main_module() -> Iterator[None]:
    """Replace the main module by an empty one, so that `spawn` does not import it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# The rest runs in the processes of a pool.


class _StopError(BaseException):
    """Raised while a request is being handled, to stop it when the pool is closed."""


class _Worker:
    """Global state of a process of a pool."""

    module: str
    settings: JSON
    handle: Callable[[Any], Any] | None = None
    is_busy = False


def _initialise(module: str, settings: JSON) -> None:
    """Set up signals, output and settings in a new process of a pool."""
    os.setpgid(0, 0)  # Ctrl-C goes to the job, which ends its processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _stop)
    sys.unraisablehook = _report_unraisable
    os.dup2(2, 1)  # the job's stdout is for its result
    sys.stdout = sys.stderr
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hide_pandas_from_arrow()
    _Worker.module, _Worker.settings = module, settings


def _handle(request: object) -> tuple[Any, Exception | None]:
    """Handle a request in a process of a pool.

    Returns:
      (result, None), or (None, error) with an error that the job reports.
    """
    try:
        if _Worker.handle is None:
            module = importlib.import_module(_Worker.module)
            _Worker.handle = module.begin(_Worker.settings)
        _Worker.is_busy = True
        return _Worker.handle(request), None
    except (UsageError, JobError) as error:
        return None, type(error)(str(error))
    except OSError as error:
        return None, JobError(str(error))
    except Exception as error:  # noqa: BLE001  # reported by the job
        traceback.print_exc()
        return None, JobError(f"{type(error).__name__}: {error}")
    except _StopError:
        _end()
        raise
    finally:
        _Worker.is_busy = False


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's
    """Handle SIGTERM: end this process.

    If a request is running, it is interrupted by an exception first, so that it can
    remove its temporary files.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _Worker.is_busy:
        raise _StopError
    _end()


def _report_unraisable(unraisable: Any) -> None:
    """End this process if `_StopError` was raised where exceptions are ignored.

    This happens in finalisers. Other ignored exceptions are reported as usual.
    """
    if isinstance(unraisable.exc_value, _StopError):
        _end()
    sys.__unraisablehook__(unraisable)


def _end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _end_with_parent() -> None:
    """Wait until the job's main process has ended, then end this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_TIME_TO_STOP_S / 2)
    os._exit(1)
