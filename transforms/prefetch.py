"""Run tasks concurrently, a bounded number ahead, with results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16  # more than the cores: they mostly wait for a store


class PendingResults(Generic[Result]):
    """Results of tasks, in the order in which the tasks were added.

    Args:
      num_ahead: largest total `size` of the items that wait behind the first.
    """

    def __init__(self, num_ahead: int) -> None:
        self._num_ahead = num_ahead
        self._pending: deque[tuple[Callable[[], Result], int]] = deque()
        self._size = 0  # of all that is pending

    def add(self, wait: Callable[[], Result], *, size: int = 1) -> None:
        """Add a task that was started.

        Args:
          wait: waits for its result, e.g. the `result` method of a future.
          size: share of `num_ahead` that the item takes.
        """
        self._pending.append((wait, size))
        self._size += size

    def take_excess(self) -> Iterator[Result]:
        """Wait for the first results until no more than `num_ahead` is pending."""
        while self._pending and self._size - self._pending[0][1] >= self._num_ahead:
            yield self._take()

    def take_all(self) -> Iterator[Result]:
        """Wait for every result."""
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
      futures: starts the next task whenever one is taken from it.
      num_ahead: maximum number of pending items when a result is yielded.
    """
    pending: PendingResults[Result] = PendingResults(num_ahead)
    for future in futures:
        pending.add(future.result)
        yield from pending.take_excess()
    yield from pending.take_all()


def prefetch(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what `read` returns for each item; hold at most one more than threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(read, item) for item in items)
        yield from map_in_order(futures, num_ahead=_THREADS)
