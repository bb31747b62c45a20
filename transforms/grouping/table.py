"""Define the input and output of grouping methods; build and write tables of groups."""

import functools
import hashlib
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from transforms import csv_tables
from transforms.labels.classes import is_wnid
from transforms.records import JSON, ImageClass, UsageError

CONFUSION_MODELS = "confusion_models"  # key of `Grouping.quality`
GroupId = int | str  # of a grouping method; `number_groups` converts it to a label
LEFT_OUT = -1  # the label of classes in no group
_MAX_SLUG_CHARACTERS = 40


class TooFewClassesError(UsageError):
    """Raised when the input has too few classes for the requested groups."""


class MissingTableError(UsageError):
    """Raised when a file that the grouping method requires is not given."""


@dataclass(frozen=True, kw_only=True)
class GroupingRequest:
    """The input of a grouping method."""

    classes: tuple[ImageClass, ...]  # by wnid
    num_groups: int | None
    seed: int
    images_per_group: int | None  # None: all
    min_validation_images: int  # in the whole subset; 0: no minimum
    allow_small_validation: bool  # hold out no training images
    groups_file: str | None
    confusion_file: str | None = None
    is_measured: bool = True  # compute quality measures, which may take seconds


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The result of a grouping method."""

    assignment: Mapping[str, GroupId | None]  # every wnid; None: left out
    names: Mapping[GroupId, str] = field(default_factory=dict)  # see `make_table`
    notes: tuple[str, ...] = ()  # printed, and recorded in the recipe
    quality: Mapping[str, JSON] = field(default_factory=dict)  # for the recipe


class GroupRow(NamedTuple):
    """One class and its group: a row of groups.csv."""

    wnid: str
    class_index: int
    name: str
    group: int  # the label, -1 if left out
    group_name: str


@dataclass(frozen=True)
class GroupTable:
    """All classes of an input and their groups, sorted by wnid."""

    rows: tuple[GroupRow, ...]

    @functools.cached_property
    def label_of(self) -> dict[str, int]:
        """The label of each grouped class, by wnid."""
        return {row.wnid: row.group for row in self.rows if row.group != LEFT_OUT}

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The unique display name of each group, by label."""
        names = {row.group: row.group_name for row in self.rows}
        return tuple(names[label] for label in range(self.num_groups))

    @property
    def num_groups(self) -> int:
        """The number of groups."""
        return len(set(self.label_of.values()))

    def wnids(self, label: int) -> tuple[str, ...]:
        """Return the wnids of a group's classes, ascending."""
        return tuple(row.wnid for row in self.rows if row.group == label)

    @functools.cached_property
    def folders(self) -> tuple[str, ...]:
        """The folder name of each group, by label; the names are in sorted order.

        A name is the wnid if every group is a single class, else label and group name.
        """
        grouped = list(self.label_of)  # by wnid, which is also the labels' order
        if len(grouped) == self.num_groups and all(map(is_wnid, grouped)):
            return tuple(grouped)
        width = max(3, len(str(self.num_groups - 1)))
        return tuple(
            f"{label:0{width}d}_{_make_slug(name)}"
            for label, name in enumerate(self.names)
        )

    @functools.cached_property
    def sha256(self) -> str:
        """The SHA-256 of groups.csv, in hexadecimal."""
        return hashlib.sha256(to_csv(self)).hexdigest()


class GroupSizes(NamedTuple):
    """Statistics of group sizes; a size is a number of classes.

    Attributes:
      num_groups: number of groups.
      num_classes: number of classes in groups.
      smallest: size of the smallest group.
      median: median of the sizes.
      largest: size of the largest group.
      effective_groups: (Σ size)² / Σ size²: N if all sizes are equal, less the more
        unequal they are.
    """

    num_groups: int
    num_classes: int
    smallest: int
    median: float
    largest: int
    effective_groups: float


def _make_slug(name: str) -> str:
    """Convert a name to lower-case ASCII letters, digits and underscores."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub("[^a-z0-9]+", "_", plain.lower()).strip("_")
    return slug[:_MAX_SLUG_CHARACTERS].strip("_") or "group"


def require_num_groups(request: GroupingRequest) -> int:
    """Return the requested number of groups, N.

    Raises:
      UsageError: N is not given, or less than 2.
      TooFewClassesError: N exceeds the number of classes.
    """
    num_groups, num_classes = request.num_groups, len(request.classes)
    if num_groups is None:
        raise UsageError("--num_groups: is required (how many groups)")
    if num_groups < 2:
        raise UsageError(f"--num_groups {num_groups}: must be at least 2")
    if num_groups > num_classes:
        raise TooFewClassesError(
            f"--num_groups {num_groups}: the input holds only {num_classes} classes; "
            f"at most {num_classes} groups can be made"
        )
    return num_groups


def number_groups(assignment: Mapping[str, GroupId | None]) -> dict[GroupId, int]:
    """Return the label of each group: 0 to N − 1, in the order of smallest wnids."""
    in_order = (assignment[wnid] for wnid in sorted(assignment))
    groups = dict.fromkeys(group for group in in_order if group is not None)
    return {group: label for label, group in enumerate(groups)}


def make_table(
    classes: Sequence[ImageClass],
    assignment: Mapping[str, GroupId | None],
    names: Mapping[GroupId, str] | None = None,
) -> GroupTable:
    """Build the table of groups: number and name groups, sort classes by wnid.

    Args:
      classes: the classes of the input, in any order.
      assignment: the group of each class by wnid; None leaves a class out.
      names: display names of groups. By default, a group of one class has the name of
        its class, and any other group is "group" and its label. Duplicate names get
        the group's smallest wnid in brackets.

    Raises:
      ValueError: the assignment does not cover exactly these classes.
    """
    ordered = sorted(classes)
    if {c.wnid for c in ordered} != assignment.keys():
        raise ValueError("the assignment must hold exactly the classes of the input")
    label_of = number_groups(assignment)
    members: list[list[ImageClass]] = [[] for _ in label_of]
    for c in ordered:
        if (group := assignment[c.wnid]) is not None:
            members[label_of[group]].append(c)
    base_names = [
        _choose_name((names or {}).get(g, ""), members[n]) for g, n in label_of.items()
    ]
    display_names = _make_unique(
        [name or f"group {label}" for label, name in enumerate(base_names)],
        [group_members[0].wnid for group_members in members],
    )
    rows = []
    for c in ordered:
        group = assignment[c.wnid]
        label = LEFT_OUT if group is None else label_of[group]
        name = "" if group is None else display_names[label]
        rows.append(GroupRow(c.wnid, c.class_index, c.name, label, name))
    return GroupTable(tuple(rows))


def _choose_name(requested: str, members: Sequence[ImageClass]) -> str:
    class_name = members[0].name if len(members) == 1 else ""
    return clean_name(requested) or clean_name(class_name)


def clean_name(name: str) -> str:
    """Replace non-printable characters with spaces, and collapse white space."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _make_unique(names: list[str], wnids: Sequence[str]) -> list[str]:
    """Append wnids in brackets to duplicate names until all names are unique."""
    while len(set(names)) < len(names):
        counts = Counter(names)
        names = [
            f"{name} ({wnid})" if counts[name] > 1 else name
            for name, wnid in zip(names, wnids, strict=True)
        ]
    return names


def measure_sizes(sizes: Sequence[int]) -> GroupSizes:
    """Compute statistics of group sizes, in classes; requires at least one size."""
    num_classes = sum(sizes)
    return GroupSizes(
        num_groups=len(sizes),
        num_classes=num_classes,
        smallest=min(sizes),
        median=statistics.median(sizes),
        largest=max(sizes),
        effective_groups=num_classes**2 / sum(size**2 for size in sizes),
    )


def describe_sizes(sizes: Sequence[int]) -> dict[str, JSON]:
    """Return the statistics of group sizes, in classes, for a recipe's JSON."""
    measurements = measure_sizes(sizes)
    return {
        "sizes": {
            "min": measurements.smallest,
            "median": measurements.median,
            "max": measurements.largest,
        },
        "effective_num_groups": round(measurements.effective_groups, 3),
    }


def to_csv(table: GroupTable) -> bytes:
    """Serialise a table as groups.csv; a left-out class has an empty group."""
    return csv_tables.to_csv(
        GroupRow._fields,
        (
            (*row[:3], "" if row.group == LEFT_OUT else row.group, row.group_name)
            for row in table.rows
        ),
    )
