"""Run work for many items concurrently, with results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16  # they wait for a store far longer than they work


def map_in_order(
    futures: Iterable[Future[Result]], *, num_ahead: int
) -> Iterator[Result]:
    """Yield results in the order in which the work was submitted.

    Args:
      futures: submits the next piece of work when its next item is taken.
      num_ahead: number of pieces that may be submitted ahead of the yielded result.
    """
    waiting: deque[Future[Result]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > num_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def prefetch(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result of a function for each item, with several in progress."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(read, item) for item in items)
        yield from map_in_order(futures, num_ahead=_THREADS)
