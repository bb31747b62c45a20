"""How images are chosen within a group: one module a sampler.

A module offers `Options` and `arrange(request, options) -> Arrangement | None`: the
part of its group that each image belongs to, and its place there; None where hashes
alone decide. The images of a group are taken as equally from its parts as these allow
(`quotas.water_fill`), inside a part the first by order.
"""

import importlib
import pkgutil
from fractions import Fraction
from types import ModuleType

from transforms.sampling import methods

SAMPLERS = tuple(
    sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
)


def load(name: str) -> ModuleType:
    """Import one sampler."""
    return importlib.import_module(f"{methods.__name__}.{name}")


def count_left_out(num_images: int, options: object) -> int:
    """Count the images of a scope that a sampler leaves out, whatever they are."""
    share = getattr(options, "drop_hardest", 0)
    return int(Fraction(str(share)) * num_images) if 0 < share < 1 else 0
