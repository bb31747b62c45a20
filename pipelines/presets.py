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
PRESETS = (*SIZES, *class_lists.NAMES)


def list_flags(preset: str) -> Mapping[str, Any]:
    """Return the flags that a preset sets."""
    if preset in SIZES:
        num_groups, images_per_group = SIZES[preset]
        return {"num_groups": num_groups, "images_per_group": images_per_group}
    num_classes = len(class_lists.load(preset))
    return {"grouping": "all_classes", "num_groups": num_classes}


def list_classes(preset: str | None) -> frozenset[str] | None:
    """Return the wnids that a preset selects; None if it selects all classes."""
    if preset not in class_lists.NAMES:
        return None
    return frozenset(class_lists.load(preset))
