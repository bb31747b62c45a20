import threading
from functools import partial

import pytest

from transforms.prefetch import PendingResults, prefetch


def test_items_keep_their_order_and_prefetch_is_bounded():
    asked = []
    meet = threading.Barrier(4)  # nobody passes unless four are read at once

    def read(item):
        asked.append(item)
        if item < 4:
            meet.wait(timeout=30)
        return -item

    found = prefetch(read, range(500))
    assert [next(found) for _ in range(3)] == [0, -1, -2]
    assert len(asked) < 50
    assert list(found) == [-n for n in range(3, 500)]


def test_read_errors_are_raised():
    def read(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match="7"):
        list(prefetch(read, [7]))


def test_size_of_pending_items_is_bounded():
    pending = PendingResults(10)
    taken = []
    for number, size in enumerate([100, 4, 5, 1, 0, 9, 1]):
        pending.add(partial(int, number), size=size)
        taken.append(list(pending.take_excess()))
    assert taken == [[], [], [], [0], [], [1, 2], [3, 4]]
    assert list(pending.take_all()) == [5, 6]
    assert list(pending.take_all()) == []
