"""Read a dataset with the libraries that users load it with, one module per reader.

Readers run in processes of their own. The module of a reader defines:

- `FORMAT`: name of the dataset format that it reads.
- `LIBRARY`: Python package that must be installed; "" if none is needed.
- `read_names(directory) -> Sequence[str] | None`: returns the label names in label
  order, or None if the reader provides no names.
- `read_images(directory, splits) -> Iterator[ReadImage]`: yields every image of every
  split. The directory is local, and may have only some of the shards of each split.

Optional:

- `NAMES_ARE_FOLDERS`: whether `read_names` returns the groups' folder names instead of
  their display names. Default: False.
- `USES_TENSORFLOW`: whether the reader imports TensorFlow, which takes seconds; such
  readers can share a process. Default: False.

Readers import `LIBRARY` inside their functions, so that the module can be imported for
its `FORMAT` even if the library is not installed.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from importlib import util
from types import ModuleType
from typing import NamedTuple

READERS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class ReadImage(NamedTuple):
    """An image as a reader returns it; fields that the reader lacks are None.

    `labels` has more than one item if the reader returns the label in several places.
    """

    split: str
    key: str
    image: bytes
    labels: tuple[int, ...]  # every label that the reader returns
    fine_label: int | None = None
    wnid: str | None = None
    file_name: str | None = None


def load(name: str) -> ModuleType:
    """Import the module of a reader."""
    return importlib.import_module(f"{__name__}.{name}")


def find_missing_libraries(names: Iterable[str]) -> list[str]:
    """Return the libraries of readers that are not installed in this environment."""
    libraries = sorted({load(name).LIBRARY for name in names} - {""})
    return [library for library in libraries if util.find_spec(library) is None]


def names_are_folders(name: str) -> bool:
    """Return whether a reader's label names are folder names."""
    return getattr(load(name), "NAMES_ARE_FOLDERS", False)


def share_processes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Divide readers into those that one process runs one after another, in order."""
    uses_tensorflow = {n: getattr(load(n), "USES_TENSORFLOW", False) for n in names}
    shared: dict[str, list[str]] = {}
    for name in names:
        shared.setdefault("" if uses_tensorflow[name] else name, []).append(name)
    return [tuple(together) for together in shared.values()]
