"""A preset's name → the flags it stands for."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from transforms.labels import class_lists

if TYPE_CHECKING:
    from pipelines.grouping_flags import GroupingFlags

Flags = TypeVar("Flags", bound="GroupingFlags")

_MIN_VALIDATION_IMAGES = 10_000
# Groups and images of the configurations that the source holds likely to work.
# Source: Gao, "Subsets of ImageNet" (2021).
SIZES = {
    "n200_m500": (200, 500),
    "n100_m1000": (100, 1000),
    "n20_m5000": (20, 5000),
    "n20_m2500": (20, 2500),
    "n10_m5000": (10, 5000),
    "n100_m500": (100, 500),
}
# Made of classes alike, which can serve every one of these sizes.
_DEFAULT_GROUPING = "wordnet"
PRESETS = (*SIZES, *class_lists.NAMES)


def list_flags(preset: str) -> Mapping[str, Any]:
    """Return what a preset fixes."""
    if preset in SIZES:
        num_groups, images_per_group = SIZES[preset]
        return {"num_groups": num_groups, "images_per_group": images_per_group}
    num_classes = len(class_lists.load(preset))
    return {"grouping": "all_classes", "num_groups": num_classes}


def expand(options: Flags) -> Flags:
    """Fill in what the preset fixes, and the defaults that depend on it.

    A published list of classes keeps its own official validation images; else there
    should be enough of them that differences between models are not chance.
    """
    flags: dict[str, Any] = {}
    if options.preset:
        flags |= list_flags(options.preset)
        flags.setdefault("grouping", options.grouping or _DEFAULT_GROUPING)
    if options.min_validation_images is None:
        is_list = options.preset in class_lists.NAMES
        flags["min_validation_images"] = 0 if is_list else _MIN_VALIDATION_IMAGES
    return dataclasses.replace(options, **flags)


def find_contradictions(options: "GroupingFlags") -> Iterator[str]:
    """Name the flags that say something else than the preset."""
    if not options.preset:
        return
    for name, value in list_flags(options.preset).items():
        given = getattr(options, name)
        if given not in {None, value}:
            yield (
                f"--{name} {given}: --preset {options.preset} means {value}; leave out "
                "one of them"
            )


def list_classes(options: "GroupingFlags") -> frozenset[str] | None:
    """Return the wnids that a preset is made of; None when it takes all classes."""
    if options.preset not in class_lists.NAMES:
        return None
    return frozenset(class_lists.load(options.preset))
