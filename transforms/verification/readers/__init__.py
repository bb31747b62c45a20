"""Open a dataset as users do: one module per reader, each run in its own process.

A module offers:

- `FORMAT`: the format that it reads.
- `LIBRARY`: the Python package that must be installed; "" for none.
- `read_names(directory) -> Sequence[str] | None`: the names of the labels, or None if
  it has none.
- `read_images(directory, splits) -> Iterator[ReadImage]`: every image of every split.

Optional:

- `NAMES_ARE_FOLDERS`: whether `read_names` returns the groups' folder names instead of
  their display names. Default: False.

Import the library inside the functions: other modules load a reader to ask for its
`FORMAT`.
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


def names_are_folders(name: str) -> bool:
    """Return whether a reader names the labels by their folders."""
    return getattr(load(name), "NAMES_ARE_FOLDERS", False)
