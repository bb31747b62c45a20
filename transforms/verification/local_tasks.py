"""Run tasks in processes of this machine."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Any

from transforms import processes
from transforms.processes import ProcessPool
from transforms.verification.reader_process import ReaderProcesses
from transforms.verification.tasks import Task, TaskSettings, count_images, run_task


class LocalTasks:
    """Run tasks in processes of this machine, several at once.

    Few images are decoded in threads. Readers always run in processes of their
    own.

    Args:
      tasks: the tasks.
      settings: settings of all tasks.
      num_threads: number of tasks that run at once.
    """

    def __init__(
        self, tasks: Sequence[Task], settings: TaskSettings, num_threads: int
    ) -> None:
        self._tasks = tasks
        self._settings = settings
        self._slots = ThreadPoolExecutor(num_threads)
        self._futures: list[Future[int]] = []
        self._readers = ReaderProcesses()
        num_images = count_images(tasks)
        num_processes = min(num_threads, num_images // processes.LEAST_IMAGES)
        self._pool: ProcessPool | None = None
        if num_processes > 1:
            self._pool = ProcessPool(
                sys.modules[__name__], asdict(settings), num_processes
            )

    def start(self) -> None:
        """Start as many tasks as may run at once, and queue the others."""
        for task in self._tasks:
            self._futures.append(self._slots.submit(self._run, task))

    def wait(self) -> None:
        """Wait for all tasks.

        Raises:
          JobError: a task failed, or its process was ended.
        """
        for future in wait(self._futures, return_when=FIRST_EXCEPTION).done:
            future.result()

    def close(self) -> None:
        """End running tasks and discard the others."""
        self._slots.shutdown(wait=False, cancel_futures=True)
        if self._pool:
            self._pool.close()
        self._readers.close()
        self._slots.shutdown()

    def _run(self, task: Task) -> int:
        if self._pool and task.files:
            return int(self._pool.submit(task).result())
        return run_task(task, self._settings, self._readers)


def begin(settings: Mapping[str, Any]) -> Callable[[Sequence[Any]], int]:
    """Return a function that runs a task in a process of a `ProcessPool`."""
    described = TaskSettings(**settings)
    return lambda task: run_task(Task(*task), described)
