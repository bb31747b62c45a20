"""Items that are read one by one → read several at once, told in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16  # they wait for a store far longer than they work


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield what is read of each item; at most twice as many as threads are held."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
