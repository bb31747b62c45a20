"""Import pyarrow and Beam without optional libraries that a local job does not need."""

import gc
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipelines import is_job

# Beam imports these if they are installed. The embedded runner and that for Dask need
# none of them, and they take half of the time of Beam's import.
_OPTIONAL = ("apitools", "boto3", "google.auth", "pandas", "pymongo")


def hide_pandas_from_arrow() -> None:
    """Make pyarrow work without pandas if the process runs a job."""
    if is_job():
        from transforms import hidden_imports

        hidden_imports.hide_pandas_from_arrow()


def import_beam(beam_flags: Sequence[str]) -> None:
    """Import Beam without optional libraries for the embedded runner or for Dask.

    Do nothing in other programs, if other flags of Beam are given, or if Beam is
    already imported.
    """
    needs_few = not beam_flags or any(f.endswith("DaskRunner") for f in beam_flags)
    if is_job() and needs_few and "apache_beam" not in sys.modules:
        from transforms.hidden_imports import hidden

        with hidden(_OPTIONAL), _quiet(), _without_garbage_collection():
            importlib.import_module("pipelines.engine")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Beam's warnings about missing libraries."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable garbage collection, which only slows down the import of many objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
