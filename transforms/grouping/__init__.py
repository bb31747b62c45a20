"""How classes are put into groups: one module a method, named as the flag's value.

A module offers `Options` and `group_classes(request, options) -> Grouping`: a group, or
None for left out, for every class of the request. The order of the classes does not
matter.
"""

import importlib
import pkgutil
from types import ModuleType

METHODS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one method."""
    return importlib.import_module(f"{__name__}.{name}")
