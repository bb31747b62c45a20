"""Define the presets: names of recipes and the flags that they set."""

from collections.abc import Mapping
from typing import Any

from transforms.labels import class_lists

# Groups and images per group of the configurations that the source recommends.
# Source: Gao, "Subsets of ImageNet" (2021).
SIZES = {
    "n200_m500": (200, 500),
    "n100_m1000": (100, 1000),
    "n20_m5000": (20, 5000),
    "n20_m2500": (20, 2500),
    "n10_m5000": (10, 5000),
    "n100_m500": (100, 500),
}
# Its groups are large enough for all of these sizes.
DEFAULT_GROUPING = "wordnet"
_SUBSETS = (*class_lists.NAMES, *class_lists.GROUPED_NAMES)
PRESETS = (*SIZES, *_SUBSETS, *class_lists.list_aliases())


def resolve(preset: str) -> str:
    """Return the name of the preset that a name or an alias denotes."""
    return class_lists.list_aliases().get(preset, preset)


def is_published(preset: str | None) -> bool:
    """Return whether a preset is a published subset, not a size."""
    return preset is not None and preset not in SIZES


def list_flags(preset: str) -> Mapping[str, Any]:
    """Return the flags that a preset sets."""
    if not is_published(preset):
        num_groups, images_per_group = SIZES[preset]
        return {"num_groups": num_groups, "images_per_group": images_per_group}
    name = resolve(preset)
    if name in class_lists.GROUPED_NAMES:
        return {"grouping": name}
    return {"grouping": "all_classes", "num_groups": len(class_lists.load(name))}


def list_classes(preset: str | None) -> frozenset[str] | None:
    """Return the wnids of a class list; None for other presets."""
    name = resolve(preset or "")
    return frozenset(class_lists.load(name)) if name in class_lists.NAMES else None
