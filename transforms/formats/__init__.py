"""How a dataset is written: one module a format, each with a writer for one shard.

A module offers `ShardWriter(place)`, which writes one shard with `add(record)`,
`close()` and `discard()`; `sidecars(dataset) -> dict[str, bytes]`: by path, what its
readers need beside the shards; and `how_to_load(dataset) -> str`: its part of the card.
"""

import importlib
import pkgutil
from types import ModuleType

FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one format."""
    return importlib.import_module(f"{__name__}.{name}")
