"""Apply a table of groups, written by a person or by a grouping, to classes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from transforms.grouping import table as groups
from transforms.grouping.table import (
    Entry,
    GroupId,
    Grouping,
    GroupsFileProblem,
    number_groups,
)
from transforms.labels.classes import class_index
from transforms.labels.lookup import ClassLookup
from transforms.records import ImageClass, UsageError, cut_lines, list_names

_PROBLEMS_SHOWN = 20
_OTHER = "other"
_NO_LINE = 0

_WHOLE_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")


@dataclass
class _Group:
    """What a file says about one group."""

    identifier: str  # in its first spelling
    line: int
    name: str = ""
    wnids: list[str] = field(default_factory=list)  # of the input
    is_unclear: bool = False  # some entry could not be read


class _Reading:
    """Collect the entries of a file into groups of the input's classes."""

    def __init__(self, classes: Sequence[ImageClass]) -> None:
        self.held = {c.wnid for c in classes}
        self.lookup = ClassLookup(classes)
        self.groups: dict[str, _Group] = {}
        self.line_of: dict[str, int] = {}  # wnid → its line
        self.problems: list[GroupsFileProblem] = []

    def add(self, entry: Entry) -> None:
        """Add one class to its group."""
        group = self._find_group(entry)
        wnid = self._identify(entry)
        if wnid is not None and wnid in self.line_of:
            what, line = self.lookup.describe(wnid), self.line_of[wnid]
            self._report(entry, f"{what} stands in line {line} already; keep one")
            wnid = None
        if wnid is None:
            if group:
                group.is_unclear = True
            return
        self.line_of[wnid] = entry.line
        if group and wnid in self.held:
            group.wnids.append(wnid)

    def _report(self, entry: Entry, text: str) -> None:
        self.problems.append(GroupsFileProblem(entry.line, text))

    def _find_group(self, entry: Entry) -> _Group | None:
        """Return the entry's group, new for its first entry; None if it is left out."""
        if not entry.group:
            if entry.group_name:
                self._report(
                    entry, f"{entry.group_name!r} has no group; fill in both or neither"
                )
            return None
        if entry.group == "-1":
            self._report(entry, "group -1: leave the group empty to leave a class out")
        key = " ".join(entry.group.casefold().split())
        if whole := _WHOLE_NUMBER.fullmatch(key):  # as spreadsheets write 1 and 01
            key = str(int(whole.group(1)))
            entry = entry._replace(group=key)
        group = self.groups.setdefault(key, _Group(entry.group, entry.line))
        group.name = group.name or entry.group_name
        if entry.group_name not in {"", group.name}:
            self._report(
                entry,
                f"group {entry.group!r} is named {entry.group_name!r} here and "
                f"{group.name!r} above; give it one name",
            )
        return group

    def _identify(self, entry: Entry) -> str | None:
        """Return the entry's class, on which all its identifiers must agree."""
        if not entry.identifiers:
            self._report(entry, "names no class; give its wnid, index or label")
            return None
        first, *others = entry.identifiers
        wnid = self.lookup.find(first)
        if wnid is None:
            few = len(self.problems) < _PROBLEMS_SHOWN  # finding near names takes time
            text = self.lookup.explain(first) if few else "unknown class"
            self._report(entry, text)
            return None
        for other in others:
            if other.kind == "class_index":
                agrees = other.text == str(class_index(wnid))
            else:  # a name of the user's own says nothing
                agrees = self.lookup.find(other) in {None, wnid}
            if not agrees:
                self._report(
                    entry,
                    f"{first.kind} {first.text} is {self.lookup.describe(wnid)}, but "
                    f"{other.kind} is {other.text}; mend one of them",
                )
                return None
        return wnid


def read_groups(
    path: str,
    classes: Sequence[ImageClass],
    *,
    num_groups: int | None = None,
    missing: str = "drop",
    remedy: str = "",
) -> Grouping:
    """Read a table of groups, CSV or YAML, and apply it to classes.

    Args:
      path: the file.
      classes: the classes to group.
      num_groups: the number of groups that the file must make; None: any.
      missing: what happens to classes that the file does not mention: error, drop (they
        are left out) or other (they form one group).
      remedy: added to the error about classes that the file does not mention.

    Raises:
      UsageError: all problems of the file; the first twenty are listed.
    """
    file = groups.read_groups_file(path)
    reading = _Reading(classes)
    for entry in file.entries:
        reading.add(entry)
    problems = sorted([*file.problems, *reading.problems])
    notes: list[str] = []
    if file.entries:
        problems += _check_groups(reading)
        unnamed = sorted(reading.held - reading.line_of.keys())
        problems += _place_missing(reading, unnamed, missing, notes, remedy)
        if not file.problems:
            problems += _check_num_groups(reading, num_groups)
    elif not problems:
        problems = [GroupsFileProblem(_NO_LINE, "holds no classes")]
    if problems:
        raise UsageError("\n".join(_show(problems, path)))
    return _to_grouping(reading, notes)


def _check_groups(reading: _Reading) -> Iterator[GroupsFileProblem]:
    for group in reading.groups.values():
        if not group.wnids and not group.is_unclear:
            yield GroupsFileProblem(
                group.line,
                f"group {group.identifier!r}: none of its classes is in the input; "
                "remove it, or add the images to the input",
            )


def _place_missing(
    reading: _Reading, missing: list[str], policy: str, notes: list[str], remedy: str
) -> Iterator[GroupsFileProblem]:
    """Apply the policy to the classes that the file does not mention."""
    if not missing:
        return
    what = _count(missing, "of the input")
    if policy == "error":
        yield GroupsFileProblem(
            _NO_LINE,
            f"{what} not in the file: "
            f"{list_names(map(reading.lookup.describe, missing))}; add them (with an "
            f"empty group to leave them out){remedy}",
        )
    elif policy == "drop":
        notes.append(f"{what} not in the groups file and left out")
    else:
        notes.append(f"{what} not in the groups file and in the group {_OTHER!r}")
        other = reading.groups.setdefault(_OTHER, _Group(_OTHER, _NO_LINE))
        other.wnids += missing


def _check_num_groups(
    reading: _Reading, wanted: int | None
) -> Iterator[GroupsFileProblem]:
    found = len(reading.groups)
    if wanted is not None and found != wanted:
        yield GroupsFileProblem(
            _NO_LINE,
            f"makes {found} groups where --num_groups says {wanted}; "
            "leave --num_groups out or change the file",
        )
    elif found < 2:
        yield GroupsFileProblem(
            _NO_LINE, f"makes {found} groups; a subset needs at least 2"
        )


def _show(problems: list[GroupsFileProblem], path: str) -> Iterator[str]:
    lines = (
        f"{path}: {text}" if line == _NO_LINE else f"{path}:{line}: {text}"
        for line, text in problems
    )
    yield from cut_lines(lines, _PROBLEMS_SHOWN, more=f"{path}: and {{}} more problems")


def _to_grouping(reading: _Reading, notes: list[str]) -> Grouping:
    assignment: dict[str, GroupId | None] = dict.fromkeys(reading.held)
    names: dict[GroupId, str] = {}
    for key, group in reading.groups.items():
        assignment |= dict.fromkeys(group.wnids, key)
        own_name = "" if key.isdecimal() else group.identifier
        names[key] = group.name or own_name
    if absent := sorted(reading.line_of.keys() - reading.held):
        notes.append(f"{_count(absent, 'of the groups file')} not in the input")
    notes += _note_renumbering(number_groups(assignment))
    return Grouping(assignment=assignment, names=names, notes=tuple(notes))


def _note_renumbering(label_of: dict[GroupId, int]) -> Iterator[str]:
    """List the numbers of the file that become other labels."""
    if not all(str(key).isdecimal() for key in label_of):
        return
    changed = [
        f"{key} → {label}"
        for key, label in label_of.items()
        if str(key) != str(label)  # without leading zeros: `_find_group`
    ]
    if changed:
        yield f"groups are numbered by their smallest wnid: {list_names(changed)}"


def _count(wnids: list[str], whose: str) -> str:
    return f"{len(wnids)} {'class' if len(wnids) == 1 else 'classes'} {whose} " + (
        "is" if len(wnids) == 1 else "are"
    )
