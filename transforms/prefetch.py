"""Work that is done item by item → several at once, with results in their order."""

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
    """Yield what work gives, in the order in which it was begun.

    Args:
      futures: begins the next piece of work whenever one is taken from it.
      num_ahead: how many may be under way, or done, when a result is yielded.
    """
    waiting: deque[Future[Result]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > num_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def prefetch(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what is read of each item; at most one more than the threads is held."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(read, item) for item in items)
        yield from map_in_order(futures, num_ahead=_THREADS)
