"""How images are chosen within a group: one module a sampler.

A module offers `Options` and `arrange(request, options) -> Arrangement | None`: the
part of its group that each image belongs to, and its place there; None where hashes
alone decide. The images of a group are taken as equally from its parts as these allow
(`quotas.water_fill`), inside a part the first by order.
"""

import importlib
import pkgutil
from types import ModuleType

SAMPLERS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one sampler."""
    return importlib.import_module(f"{__name__}.{name}")
