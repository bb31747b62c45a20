"""Select the images of each group: one module per sampler.

A module defines:

- `Options`: a frozen dataclass of flags; its fields become `--<sampler>_<field>`.
- `arrange(request, options) -> SamplerOutput | FixedSelection | None`: assigns each
  image to a part of its group and orders the images within parts; None selects by hash
  alone. The quota of a group is split equally among its parts, as far as they have
  enough images (`allocation.water_fill`); from each part, the first images in order are
  selected.

Optional:

- `TABLES`: names of the flags whose files `arrange` requires. Default: ().
- `count_left_out(num_images, options) -> int`: the number of images that `arrange`
  excludes from a scope (a group or the whole set) of `num_images` images. Default: 0.
- `IS_FIXED`: whether `arrange` returns a `FixedSelection`, which states the split of
  every image. It is called before the classes are grouped; `--images_per_group` and
  `--stratify_by_class` do not apply, and no training images are held out. Default:
  False.
- `check_table(path)`: checks the file of the first flag of `TABLES`, before the input
  is read.
- `Options.outside`: for a `FixedSelection`, "error" or "drop": what happens to selected
  images whose class is in no group. Default: "error".
- `Options.scope`: "group" or "set" (see `SamplerOutput.scope`). Default: "group".
"""

import importlib
import pkgutil
from types import ModuleType

from transforms.sampling import methods

SAMPLERS = tuple(
    sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
)
DEFAULT = "uniform"


def load(name: str) -> ModuleType:
    """Import and return the module of a sampler."""
    return importlib.import_module(f"{methods.__name__}.{name}")


def list_tables(name: str) -> tuple[str, ...]:
    """Return the names of the flags whose files a sampler requires."""
    return getattr(load(name), "TABLES", ())


def list_readers(table: str) -> tuple[str, ...]:
    """Return the samplers that require the file of a flag."""
    return tuple(name for name in SAMPLERS if table in list_tables(name))


def is_fixed(name: str) -> bool:
    """Return whether a sampler states the split of every image itself."""
    return bool(getattr(load(name), "IS_FIXED", False))


def check_table(name: str, path: str) -> None:
    """Check the file that a sampler requires, if it can be checked without an input.

    Raises:
      UsageError: the file is invalid.
    """
    if check := getattr(load(name), "check_table", None):
        check(path)


def drops_outside(options: object) -> bool:
    """Return whether selected images of classes in no group are left out."""
    return getattr(options, "outside", "error") == "drop"


def count_left_out(name: str, num_images: int, options: object) -> int:
    """Return the number of images that a sampler excludes from a group or whole set.

    Args:
      name: name of the sampler.
      num_images: number of images in the group or set.
      options: the sampler's options; None: the result is 0.
    """
    count = getattr(load(name), "count_left_out", None)
    return 0 if count is None or options is None else int(count(num_images, options))


def find_scope(options: object) -> str:
    """Return the scope of a sampler's quota: "group" (M each) or "set" (N × M)."""
    return str(getattr(options, "scope", "group"))
