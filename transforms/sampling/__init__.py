"""Choose the images of each group: one module per sampler.

A module offers:

- `Options`: a frozen dataclass of flags; its fields become `--<sampler>_<field>`.
- `arrange(request, options) -> SamplerOutput | None`: the part of its group that each
  image belongs to, and its place there; None if hashes alone decide. Equally many
  images are taken from each part of a group, as far as the parts have them
  (`allocation.water_fill`); within a part, the first ones by order.

Optional:

- `TABLES`: names of the flags whose files `arrange` requires. Default: ().
- `count_left_out(num_images, options) -> int`: how many images of a scope `arrange`
  excludes, whichever they are. Default: 0.
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
    """Import one sampler."""
    return importlib.import_module(f"{methods.__name__}.{name}")


def list_tables(name: str) -> tuple[str, ...]:
    """Return the names of the flags whose files a sampler requires."""
    return getattr(load(name), "TABLES", ())


def list_readers(table: str) -> tuple[str, ...]:
    """Return the samplers that require a table."""
    return tuple(name for name in SAMPLERS if table in list_tables(name))


def count_left_out(name: str, num_images: int, options: object) -> int:
    """Count the images of a scope that a sampler excludes, whichever they are.

    Args:
      name: the sampler.
      num_images: number of images in the scope.
      options: the sampler's options; None: nothing is excluded.
    """
    count = getattr(load(name), "count_left_out", None)
    return 0 if count is None or options is None else int(count(num_images, options))


def find_scope(options: object) -> str:
    """Return where a sampler applies its quota: "group" (M) or "set" (N × M)."""
    return str(getattr(options, "scope", "group"))
