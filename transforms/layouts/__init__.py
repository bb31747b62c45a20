"""How ImageNet lies on disks: one module a layout, which finds and reads pieces.

A module offers `find(path) -> Found | None` (None: not this layout) and
`read(piece) -> Iterator[ImageRef | Stray]`.
"""

import importlib
import pkgutil
from types import ModuleType

LAYOUTS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one layout."""
    return importlib.import_module(f"{__name__}.{name}")
