"""Group classes: one module per method, named as the value of `--grouping`.

A module offers:

- `Options`: a frozen dataclass of flags; its fields become `--<method>_<field>`. A
  field named `heldout` holds a confusion matrix to score groups on (`group --compare`).
- `group_classes(request, options) -> Grouping`: a group, or None if it is left out,
  for every class of the request. The order of the classes does not matter.

Optional:

- `TABLES`: names of the flags whose files `group_classes` requires. Default: ().
- `NUM_GROUPS`: the source of the number of groups. Default: "flag".
    - "flag": `--num_groups`, which is required.
    - "table": the file that the method reads; `--num_groups` is only checked.
    - "classes": every class is a group; `--images_per_group` is optional, and
      `group --compare` skips the method.
- `HAS_WORDNET_PATHS`: whether pages show the WordNet path of each group. Default:
  False.
"""

import importlib
import pkgutil
from types import ModuleType

from transforms.grouping import methods

METHODS = tuple(
    sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
)


def load(name: str) -> ModuleType:
    """Import one method."""
    return importlib.import_module(f"{methods.__name__}.{name}")


def list_tables(name: str) -> tuple[str, ...]:
    """Return the names of the flags whose files a method requires."""
    return getattr(load(name), "TABLES", ())


def list_readers(table: str) -> tuple[str, ...]:
    """Return the methods that require a table."""
    return tuple(name for name in METHODS if table in list_tables(name))


def find_num_groups_source(name: str) -> str:
    """Return where the number of groups comes from: flag, table or classes."""
    return getattr(load(name), "NUM_GROUPS", "flag")


def has_wordnet_paths(name: str) -> bool:
    """Return whether pages show the WordNet path of each group."""
    return getattr(load(name), "HAS_WORDNET_PATHS", False)
