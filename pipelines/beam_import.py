"""Import Beam without the optional libraries of its remote engines and connectors."""

import gc
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipelines import is_job

# Beam imports these if they are installed. The embedded runner needs none of them, and
# they take half of the time of Beam's import.
_OPTIONAL = ("apitools", "boto3", "google.auth", "google.cloud", "pandas", "pymongo")


def import_beam(beam_flags: Sequence[str]) -> None:
    """Import Beam, faster if the process runs a job on the embedded runner."""
    if is_job() and not beam_flags and "apache_beam" not in sys.modules:
        with _hidden(_OPTIONAL), _without_garbage_collection():
            importlib.import_module("pipelines.engine")


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Make imports of modules fail silently, except of those already imported."""
    hidden = [name for name in names if name not in sys.modules]
    logging.disable(logging.WARNING)  # of Beam, about each
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None fails
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
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
