"""Declare the flags of the jobs that group classes, and call the selected method."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Self

from pipelines import presets
from transforms import grouping, storage
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.grouping import groups_file
from transforms.grouping import table as groups
from transforms.grouping.table import Grouping, GroupingRequest, GroupTable
from transforms.index.completeness import ClassSplit
from transforms.index.inventory import Inventory
from transforms.labels import classes
from transforms.options import flag
from transforms.records import ImageClass, UsageError, list_names

_MIN_VALIDATION_IMAGES = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupingFlags:
    """The flags of every job that groups classes."""

    preset: str | None = flag(
        "named recipe: nN_mM sets N groups and M images per group, with --grouping="
        f"{presets.DEFAULT_GROUPING} unless --grouping is given; the other names are "
        "published lists of classes, see docs/presets.md (four of them are called "
        "ImageNet-100 in papers)",
        default=None,
        choices=presets.PRESETS,
        implies=("grouping", "num_groups", "images_per_group"),
    )
    grouping: str | None = flag(
        "method that assigns classes to groups", default=None, choices=grouping.METHODS
    )
    num_groups: int | None = flag("number of groups, N", default=None, minimum=2)
    groups: str | None = flag(
        "table of groups for --grouping=manual, CSV or YAML: written by hand, or the "
        "groups.csv of an earlier run",
        default=None,
        metavar="FILE",
        absent="no such file",
    )
    confusion: str | None = flag(
        "confusion matrix written by pipelines.confusion, .npz or .csv; used by "
        "--grouping=confusion and curated, and to measure the groups of any method",
        default=None,
        metavar="FILE",
        absent="no such file; make it with python -m pipelines.confusion",
    )
    images_per_group: int | None = flag(
        "training images per group, M; required, except with --folds=2, a published "
        "list or --grouping=all_classes (default there: all)",
        default=None,
        minimum=1,
    )
    min_validation_images: int | None = flag(
        "smallest number of validation images in the subset; if there are fewer "
        "official ones, training images are held out (default: 10000, or 0 with a "
        "published list of classes)",
        default=None,
        minimum=0,
    )
    allow_small_validation: bool = flag(
        "if there are too few images, shrink the validation split instead of the "
        "training split",
        default=False,
    )
    seed: int = flag("seed of every random choice and ordering", default=0)

    def expand_preset(self) -> Self:
        """Return a copy with the preset's flags and the defaults that depend on it.

        A published list of classes keeps only its official validation images. Other
        subsets get at least 10000 validation images, enough to distinguish models.
        """
        values: dict[str, Any] = {}
        if self.preset:
            values["preset"] = presets.resolve(self.preset)
            values |= presets.list_flags(self.preset)
            values.setdefault("grouping", self.grouping or presets.DEFAULT_GROUPING)
        if self.min_validation_images is None:
            is_list = presets.is_published(self.preset)
            values["min_validation_images"] = 0 if is_list else _MIN_VALIDATION_IMAGES
        return dataclasses.replace(self, **values)

    def describe_preset(self) -> Iterator[str]:
        """Yield a note if the preset selects its default grouping method."""
        if self.preset in presets.SIZES and self.grouping is None:
            yield (
                f"--preset {self.preset}: uses --grouping={presets.DEFAULT_GROUPING}; "
                "give --grouping to choose another method"
            )

    def find_grouping_problems(self) -> Iterator[str]:
        """Yield a message for each missing grouping flag or invalid combination."""
        fixed = presets.list_flags(self.preset) if self.preset else {}
        for name, value in fixed.items():
            given = getattr(self, name)
            if given not in {None, value}:
                yield (
                    f"--{name} {given}: --preset {self.preset} sets {value}; leave "
                    "out one of them"
                )
        expanded = self.expand_preset()
        method = expanded.grouping
        if method is None:
            yield f"--grouping: is required (one of {', '.join(grouping.METHODS)})"
            return
        for table in grouping.list_tables(method):
            if not getattr(self, table):
                yield f"--{table}: is required (the table of --grouping={method})"
        # A confusion matrix also measures the groups of other methods.
        readers = grouping.list_readers("groups")
        if self.groups and method not in readers:
            named = " or ".join(f"--grouping={name}" for name in readers)
            yield f"--groups {self.groups}: applies only with {named}"
        elif self.groups and os.path.lexists(self.groups):  # else remote or absent
            yield from groups_file.check_groups_file(self.groups)
        is_flag = grouping.find_num_groups_source(method) == "flag"
        if is_flag and expanded.num_groups is None:
            yield "--num_groups: is required (number of groups)"


def reads_groups(flags: GroupingFlags) -> bool:
    """Return whether the grouping method reads the groups from a table."""
    return grouping.find_num_groups_source(flags.grouping or "") == "table"


def check_tables(flags: GroupingFlags) -> None:
    """Check the tables that `problems` does not read, before the input is read.

    Raises:
      UsageError: a table of groups in a bucket or a confusion matrix is invalid.
    """
    problems = list[str]()
    if flags.groups and storage.is_remote(flags.groups):
        problems += groups_file.check_groups_file(flags.groups)
    if flags.confusion:
        try:
            _read_confusion(flags.confusion)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))


def load_options(method: str | None) -> Any:
    """Return the default options of a method."""
    return grouping.load(method or "").Options()


def list_classes(inventory: Inventory) -> tuple[ImageClass, ...]:
    """Return the classes of an input with their image counts."""
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
    """Return the 1000 official classes, with image counts of 0."""
    return tuple(
        ImageClass(info.wnid, info.class_index, info.name, 0, 0)
        for info in classes.load_classes()
    )


def group_classes(
    held: Sequence[ImageClass],
    flags: GroupingFlags,
    method_options: Any = None,
) -> tuple[GroupTable, Grouping]:
    """Group classes with the selected method and print its notes.

    Args:
      held: the classes of the input, sorted by wnid.
      flags: grouping method, N and the tables that methods read.
      method_options: options of the method; None selects its defaults.

    Returns:
      The groups of all classes, and the result of the method.

    Raises:
      UsageError: the method or a table does not fit the classes, or classes of the
        preset are missing.
    """
    only = presets.list_classes(flags.preset)
    wanted = tuple(c for c in held if only is None or c.wnid in only)
    if only is not None and len(wanted) < len(only):
        missing = sorted(set(only) - {c.wnid for c in held})
        raise UsageError(
            f"--preset: {len(missing)} of its {len(only)} classes are not in the input "
            f"({list_names(missing)}); give all of ImageNet, or another preset"
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
    if flags.confusion:
        confusion = _read_confusion(flags.confusion)
        warnings = confusion_matrix.find_order_problem(confusion)
        result = dataclasses.replace(result, notes=(*result.notes, *warnings))
    for note in result.notes:
        sys.stderr.write(f"{note}\n")
    left_out = dict.fromkeys((c.wnid for c in held), None)
    table = groups.make_table(held, {**left_out, **result.assignment}, result.names)
    return table, result


def _read_confusion(path: str) -> Confusion:
    try:
        return confusion_matrix.read_confusion(path)
    except UsageError as error:
        raise UsageError(f"--confusion {error}") from None
