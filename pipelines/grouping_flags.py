"""The classes of an input → their groups: what `group` and `build` have in common."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines import presets
from pipelines.cli import flag
from transforms import grouping
from transforms.grouping import table as groups
from transforms.grouping.table import Grouping, GroupingRequest, GroupTable
from transforms.index.inventory import ClassSplit, Inventory
from transforms.labels import classes
from transforms.records import ImageClass, UsageError

_MISSING_NAMED = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupingFlags:
    """The flags of every job that groups classes."""

    preset: str | None = flag(
        "groups and images together: nN_mM, or the classes of a published subset (two "
        "lists are called ImageNet-100: each has its own name)",
        default=None,
        choices=presets.PRESETS,
    )
    grouping: str | None = flag(
        "how classes are grouped", default=None, choices=grouping.METHODS
    )
    num_groups: int | None = flag("number of groups, N, from 2", default=None)
    groups: str | None = flag(
        "a table of groups, CSV or YAML: your own, or any earlier groups.csv",
        default=None,
        metavar="FILE",
    )
    confusion: str | None = flag(
        "a confusion matrix, as python -m pipelines.confusion writes it",
        default=None,
        metavar="FILE",
    )
    images_per_group: int | None = flag(
        "training images a group, M; all with --folds or all_classes when not given",
        default=None,
    )
    min_validation_images: int | None = flag(
        "validation images to reach, with training images set aside where the official "
        "ones are fewer (10000; 0 with a published list of classes)",
        default=None,
    )
    allow_small_validation: bool = flag(
        "rather have fewer validation images than fewer training images", default=False
    )
    seed: int = flag("decides every choice and order", default=0)

    def find_grouping_problems(self) -> Iterator[str]:
        """Yield what is wrong with these flags, whatever the job."""
        yield from presets.find_contradictions(self)
        for name, least in (
            ("num_groups", 2),
            ("images_per_group", 1),
            ("min_validation_images", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                yield f"--{name} {value}: must be at least {least}"
        method = presets.expand(self).grouping
        if method is None:
            yield f"--grouping: is required (one of {', '.join(grouping.METHODS)})"
        if method == "manual" and not self.groups:
            yield "--groups: is required (the table that --grouping=manual reads)"
        if self.groups and method not in {None, "manual"}:
            yield f"--groups {self.groups}: goes with --grouping=manual only"
        if method == "confusion" and not self.confusion:
            yield "--confusion: is required (the matrix of --grouping=confusion)"
        if method not in {None, "manual", "all_classes"} and (
            presets.expand(self).num_groups is None
        ):
            yield "--num_groups: is required (how many groups)"


def load_options(method: str | None) -> Any:  # noqa: ANN401  # of each method's class
    """Return a method's own options when the command line names none of them."""
    return grouping.load(method or "").Options()


def list_classes(inventory: Inventory) -> tuple[ImageClass, ...]:
    """Return the classes of an input, with their numbers of images."""
    counts = inventory.num_images
    return tuple(
        ImageClass(
            wnid,
            classes.class_index(wnid),
            classes.display_name(wnid),
            counts.get(ClassSplit(wnid, "train"), 0),
            counts.get(ClassSplit(wnid, "validation"), 0),
        )
        for wnid in inventory.wnids()
    )


def list_official_classes() -> tuple[ImageClass, ...]:
    """Return the 1000 classes, without images."""
    return tuple(
        ImageClass(info.wnid, info.class_index, info.name, 0, 0)
        for info in classes.load_classes()
    )


def group_classes(
    held: Sequence[ImageClass],
    flags: GroupingFlags,
    method_options: Any = None,  # noqa: ANN401  # each method has its own class
) -> tuple[GroupTable, Grouping]:
    """Group classes by the method that the flags name, and print its notes.

    Args:
      held: the input's classes, by wnid.
      flags: what is asked for.
      method_options: the method's own; its defaults when None.
    Raises: UsageError: what the method, or the table that it is given, does not allow.
    """
    only = presets.list_classes(flags)
    wanted = tuple(c for c in held if only is None or c.wnid in only)
    if only is not None and len(wanted) < len(only):
        missing = sorted(set(only) - {c.wnid for c in held})
        shown = ", ".join(missing[:_MISSING_NAMED])
        raise UsageError(
            f"--preset: {len(missing)} of its {len(only)} classes are not in the input "
            f"({shown}); give all of ImageNet, or another preset"
        )
    method = grouping.load(flags.grouping or "")
    result = method.group_classes(
        GroupingRequest(
            classes=wanted,
            num_groups=flags.num_groups,
            seed=flags.seed,
            images_per_group=flags.images_per_group,
            min_validation_images=flags.min_validation_images or 0,
            allow_small_validation=flags.allow_small_validation,
            groups_file=flags.groups,
            confusion_file=flags.confusion,
        ),
        method_options or load_options(flags.grouping),
    )
    for note in result.notes:
        sys.stderr.write(f"{note}\n")
    left_out = dict.fromkeys((c.wnid for c in held), None)
    table = groups.make_table(held, {**left_out, **result.assignment}, result.names)
    return table, result
