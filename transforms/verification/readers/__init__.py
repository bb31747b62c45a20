"""How users open a dataset: one module a reader, each run in a process of its own.

A module offers `FORMAT`, what it reads; `LIBRARY`, what must be installed for it (""
for nothing); `read_names(directory)`, the names that it gives to the labels, or None;
and `read_images(directory, splits)`, every image of every split that it finds.
Libraries are imported inside, so that asking for `FORMAT` costs nothing.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import NamedTuple

READERS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class ReadImage(NamedTuple):
    """One image as a reader gives it; None where the reader has no such field."""

    split: str
    key: str
    image: bytes
    labels: tuple[int, ...]  # wherever it gives one
    fine_label: int | None = None
    wnid: str | None = None
    file_name: str | None = None


def load(name: str) -> ModuleType:
    """Import one reader."""
    return importlib.import_module(f"{__name__}.{name}")
