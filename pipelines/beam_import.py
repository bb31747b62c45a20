"""Import Beam without the optional libraries of its remote engines and connectors."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Beam imports these if they are installed. The embedded runner needs none of them, and
# they take half of the time of Beam's import.
_OPTIONAL = ("apitools", "boto3", "google.auth", "google.cloud", "pandas", "pymongo")


def import_beam() -> None:
    """Import Beam for the embedded runner; do nothing if it is already imported.

    Other runners cannot be used in this process afterwards.
    """
    if "apache_beam" not in sys.modules:
        with _hidden(_OPTIONAL), _without_garbage_collection():
            importlib.import_module("pipelines.engine")


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Make imports of modules fail, except of those already imported."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable collections, which an import of thousands of objects only slows down."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
