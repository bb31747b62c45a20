"""How classes are put into groups: one module a method, named as the flag's value.

A module offers `Options` and `group_classes(request, options) -> Grouping`: a group, or
None for left out, for every class of the request. The order of the classes does not
matter.
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
