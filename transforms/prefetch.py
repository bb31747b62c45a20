"""Run a bounded number of tasks concurrently and yield their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16  # more than the cores: they mostly wait for a store


class PendingResults(Generic[Result]):
    """A bounded queue of running tasks that yields their results in order.

    Args:
      num_ahead: limit for `take_excess`: the total size of the tasks behind the first
        must stay below it.
    """

    def __init__(self, num_ahead: int) -> None:
        self._num_ahead = num_ahead
        self._pending: deque[tuple[Callable[[], Result], int]] = deque()
        self._size = 0  # of all that is pending

    def add(self, wait: Callable[[], Result], *, size: int = 1) -> None:
        """Add a task that is already running.

        Args:
          wait: function that waits for the task and returns its result, e.g.
            `Future.result`.
          size: size of the task, in the unit of `num_ahead`.
        """
        self._pending.append((wait, size))
        self._size += size

    def take_excess(self) -> Iterator[Result]:
        """Yield the oldest results until the queue is within its limit."""
        while self._pending and self._size - self._pending[0][1] >= self._num_ahead:
            yield self._take()

    def take_all(self) -> Iterator[Result]:
        """Yield all remaining results, waiting for each."""
        while self._pending:
            yield self._take()

    def _take(self) -> Result:
        wait, size = self._pending.popleft()
        self._size -= size
        return wait()


def map_in_order(
    futures: Iterable[Future[Result]], *, num_ahead: int
) -> Iterator[Result]:
    """Yield the results of tasks in the order in which they were started.

    Args:
      futures: iterable that starts a task whenever its next item is requested.
      num_ahead: maximum number of other tasks in progress while a result is yielded.
    """
    pending: PendingResults[Result] = PendingResults(num_ahead)
    for future in futures:
        pending.add(future.result)
        yield from pending.take_excess()
    yield from pending.take_all()


def prefetch(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call `read` for each item in 16 threads and yield the results in order.

    At most 17 items are being read or waiting to be yielded at any time.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(read, item) for item in items)
        yield from map_in_order(futures, num_ahead=_THREADS)
