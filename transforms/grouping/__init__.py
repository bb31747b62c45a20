"""Group classes: one module per method, named after the value of `--grouping`.

A module defines:

- `Options`: a frozen dataclass of flags; its fields become `--<method>_<field>`. A
  field named `heldout` holds a confusion matrix to score groups on (`group --compare`).
- `group_classes(request, options) -> Grouping`: assigns every class of the request to
  a group, or to None to leave it out. The result must not depend on the order of the
  classes.

Optional:

- `TABLES`: names of the flags whose files `group_classes` requires. Default: ().
- `NUM_GROUPS`: the source of the number of groups. Default: "flag".
    - "flag": `--num_groups`, which is required.
    - "table": the file that the method reads; if `--num_groups` is given, it must
      match.
    - "method": the method fixes it; `--images_per_group` is optional, and
      `group --compare` and `study` skip the method.
    - "classes": every class is a group; `--images_per_group` is optional, and
      `group --compare` skips the method.
- `HAS_WORDNET_PATHS`: whether pages show the WordNet path of each group. Default:
  False.
- `HAS_GIVEN_NAMES`: whether people gave the groups their names; pages name other groups
  shortly by WordNet. Default: False.
"""

import importlib
import pkgutil
from types import ModuleType

from transforms.grouping import methods

METHODS = tuple(
    sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
)


def load(name: str) -> ModuleType:
    """Import the module of a grouping method."""
    return importlib.import_module(f"{methods.__name__}.{name}")


def list_tables(name: str) -> tuple[str, ...]:
    """Return the names of the flags whose files a method requires."""
    return getattr(load(name), "TABLES", ())


def list_readers(table: str) -> tuple[str, ...]:
    """Return the grouping methods that require the file of a flag."""
    return tuple(name for name in METHODS if table in list_tables(name))


def find_num_groups_source(name: str) -> str:
    """Return the source of a method's number of groups, as in `NUM_GROUPS`."""
    return getattr(load(name), "NUM_GROUPS", "flag")


def has_wordnet_paths(name: str) -> bool:
    """Return whether pages show the WordNet path of each group of a method."""
    return getattr(load(name), "HAS_WORDNET_PATHS", False)


def has_given_names(name: str) -> bool:
    """Return whether people gave the groups of a method their names."""
    return getattr(load(name), "HAS_GIVEN_NAMES", False)
