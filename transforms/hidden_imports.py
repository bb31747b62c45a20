"""Hide installed libraries from libraries that import them optionally.

Such imports take up to a third of a second in each process.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


def hide_pandas_from_arrow() -> None:
    """Make pyarrow work without pandas in this process, as if it were not installed."""
    with hidden(["pandas"]):
        pa.array([])  # pyarrow looks for pandas only once


@contextmanager
def hidden(names: Collection[str]) -> Iterator[None]:
    """Make imports of modules fail, unless they are already imported."""
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Import finder that raises an error for hidden modules."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a hidden module; leave others to Python."""
        del path, target
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)
        return None
