"""Read hand-written or generated groups files, and apply them to an input's classes.

Groups files are CSV (a header with group, one or more of wnid, class_index and name,
and optionally group_name) or YAML (a mapping from group name to a list of classes, each
given by wnid, index or label).
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, NamedTuple

import yaml

from transforms import csv_tables, storage
from transforms.csv_tables import CsvError
from transforms.grouping.table import (
    CONFUSION_MODELS,
    GroupId,
    Grouping,
    number_groups,
)
from transforms.labels.classes import class_index
from transforms.labels.lookup import ClassLookup, Identifier, to_index
from transforms.records import JSON, ImageClass, UsageError, cut_lines, list_names

_MAX_BYTES = 10_000_000
_YAML = {".yaml", ".yml"}
_IDENTIFIERS: tuple[Literal["wnid", "class_index", "name"], ...] = (
    "wnid",
    "class_index",
    "name",
)

_PROBLEMS_SHOWN = 20
_OTHER = "other"
_NO_LINE = 0
_GENERATED = "groups.csv"  # jobs write it with one of these files beside it
_SIDECARS = {"groups.json": "quality", "recipe.json": "grouping_quality"}

_WHOLE_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")


class Entry(NamedTuple):
    """One entry of a groups file: a class and its group."""

    line: int
    identifiers: tuple[Identifier, ...]  # of one class, in order of precedence
    group: str  # "" if left out
    group_name: str


class GroupsFileProblem(NamedTuple):
    """A problem in a groups file and its remedy; line 0 means the whole file."""

    line: int
    text: str


@dataclass
class GroupsFile:
    """The valid entries and the problems of a groups file."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[GroupsFileProblem] = field(default_factory=list)


class ParsedGroups(NamedTuple):
    """The content of groups.csv; `make_table(classes, *parsed)` rebuilds the table."""

    assignment: dict[str, GroupId | None]
    names: dict[GroupId, str]


def parse_csv(text: str, classes: Iterable[ImageClass], *, source: str) -> ParsedGroups:
    """Parse a groups.csv written by `table.to_csv` for exactly these classes.

    `read_groups` is more lenient, for hand-written files.

    Args:
      text: content of the file.
      classes: classes of the input.
      source: name of the file in error messages.

    Raises:
      UsageError: the file is invalid; the message lists the first ten problems.
    """
    parsed = ParsedGroups({}, {})
    file = parse_groups_csv(text, delimiter=",")
    wnids = {c.wnid for c in classes}
    problems = [f"{source}:{line}: {what}" for line, what in file.problems]
    problems += [f"{source}:{p}" for p in _fill(parsed, file.entries, wnids)]
    if missing := sorted(wnids - parsed.assignment.keys()):
        problems.append(
            f"{source}: no row for {len(missing)} classes ({list_names(missing)}); "
            "is this the table of these classes?"
        )
    if problems:
        more = f"{source}: and {{}} more problems"
        raise UsageError("\n".join(cut_lines(problems, more=more)))
    return parsed


def _fill(
    parsed: ParsedGroups, entries: Iterable[Entry], wnids: set[str]
) -> Iterator[str]:
    """Add the entries to the parsed groups; yield problems as `line: text`."""
    for line, identifiers, group, name in entries:
        wnid = identifiers[0].text if identifiers else ""
        if wnid not in wnids:
            yield f"{line}: {wnid!r} is not a class of the input"
        elif wnid in parsed.assignment:
            yield f"{line}: {wnid} is repeated; keep one row"
        elif not group:
            parsed.assignment[wnid] = None
        elif parsed.names.setdefault(group, name) != name:
            yield f"{line}: group {group} is named {parsed.names[group]!r} above"
        else:
            parsed.assignment[wnid] = group


def read_groups_file(path: str) -> GroupsFile:
    """Read and parse a groups file; its suffix determines the format.

    A file without entries has at least one problem.

    Raises:
      UsageError: the file is missing, not text, too large or of an unknown type.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in csv_tables.DELIMITERS.keys() | _YAML:
        raise UsageError(f"--groups {path}: must end in .csv, .tsv, .yaml or .yml")
    try:
        text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
    except CsvError as error:
        raise UsageError(f"--groups {path}: {error}") from None
    if suffix in _YAML:
        file = parse_yaml(text)
    else:
        file = parse_groups_csv(text, csv_tables.DELIMITERS[suffix])
    if not (file.entries or file.problems):
        file.problems.append(GroupsFileProblem(_NO_LINE, "holds no classes"))
    return file


def check_groups_file(path: str) -> Iterator[str]:
    """Yield the problems of a groups file that do not depend on the classes."""
    try:
        file = read_groups_file(path)
    except UsageError as error:
        yield str(error)
        return
    for line in _show(sorted(file.problems), path):
        yield f"--groups {line}"


def parse_groups_csv(text: str, delimiter: str) -> GroupsFile:
    """Parse the text of a CSV groups file to its valid entries and its problems."""
    file = GroupsFile()
    try:
        header_cells, rows = csv_tables.parse_table(text, delimiter=delimiter)
        header = [cell.lower() for cell in header_cells]
        file.problems += _check_header(header)
        for row in rows if not file.problems else ():
            if not any(row.cells):
                continue
            if problem := csv_tables.find_length_problem(row, header):
                file.problems.append(GroupsFileProblem(row.line, problem))
                continue
            fields = dict(zip(header, row.cells, strict=True))
            file.entries.append(_to_entry(row.line, fields))
    except CsvError as error:
        file.problems.append(GroupsFileProblem(error.line or 1, error.reason))
    return file


def _check_header(header: Sequence[str]) -> Iterator[GroupsFileProblem]:
    shown = ",".join(header)[:80]
    if not set(header) & set(_IDENTIFIERS) or "group" not in header:
        yield GroupsFileProblem(
            1,
            f"the header is {shown!r}; it needs 'group' and one of wnid, class_index "
            "and name, and may have group_name",
        )
    elif len(set(header)) < len(header):
        yield GroupsFileProblem(1, f"the header is {shown!r}; a column is repeated")


def _to_entry(line: int, cells: dict[str, str]) -> Entry:
    identifiers = [
        Identifier(kind, cells[kind]) for kind in _IDENTIFIERS if cells.get(kind)
    ]
    return Entry(line, tuple(identifiers), cells["group"], cells.get("group_name", ""))


def parse_yaml(text: str) -> GroupsFile:
    """Parse a YAML mapping from group names to lists of classes; collect its problems.

    Only nodes are composed, not Python objects, so that scalars stay as written.
    """
    file = GroupsFile()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        file.problems.append(GroupsFileProblem(line, f"is not YAML: {error.problem}"))
    except yaml.YAMLError as error:
        file.problems.append(
            GroupsFileProblem(1, f"is not YAML: {' '.join(str(error).split())}")
        )
    except RecursionError:
        file.problems.append(
            GroupsFileProblem(1, "is nested too deeply; give one list per group")
        )
    else:
        if isinstance(root, yaml.MappingNode):
            _read_mapping(root, file)
        else:
            file.problems.append(
                GroupsFileProblem(
                    1, "is not a mapping; write lines like 'dogs: [n02085620, pug]'"
                )
            )
    return file


def _read_mapping(root: yaml.MappingNode, file: GroupsFile) -> None:
    lines: dict[str, int] = {}
    seen: set[int] = set()
    for key, value in root.value:
        line = _line(key)
        group = key.value.strip() if isinstance(key, yaml.ScalarNode) else ""
        if not group:
            problem = "a group name must be a string; quote it"
        elif group in lines:
            problem = (
                f"group {group!r} is already defined in line {lines[group]}; merge them"
            )
        elif not isinstance(value, yaml.SequenceNode):
            problem = (
                f"group {group!r} is not a list of classes; write '- ' before each"
            )
        elif not value.value:
            problem = f"group {group!r} has no classes; add some or remove it"
        elif id(value) in seen:  # aliases let a small file expand without bound
            problem = f"group {group!r} is an alias of another; write its classes out"
        else:
            seen.add(id(value))
            lines[group] = line
            _read_list(group, value, file)
            continue
        file.problems.append(GroupsFileProblem(line, problem))


def _read_list(group: str, values: yaml.SequenceNode, file: GroupsFile) -> None:
    for node in values.value:
        text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
        if text:
            entry = Entry(_line(node), (Identifier("any", text),), group, "")
            file.entries.append(entry)
        else:
            file.problems.append(
                GroupsFileProblem(
                    _line(node), "is not a class; give a wnid, an index or a label"
                )
            )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


@dataclass
class _Group:
    """A group of a groups file."""

    identifier: str  # as first spelt
    line: int
    name: str = ""
    wnids: list[str] = field(default_factory=list)  # classes that the input contains
    has_invalid_entry: bool = False  # then the group may lack classes


class _GroupCollector:
    """Collects the entries of a groups file into groups, and records all problems."""

    def __init__(self, classes: Sequence[ImageClass]) -> None:
        self.input_wnids = {c.wnid for c in classes}
        self.lookup = ClassLookup(classes)
        self.groups: dict[str, _Group] = {}
        self.line_of: dict[str, int] = {}  # by wnid
        self.problems: list[GroupsFileProblem] = []

    def add(self, entry: Entry) -> None:
        """Add an entry's class to its group, or record a problem."""
        group = self._find_group(entry)
        wnid = self._identify(entry)
        if wnid is not None and wnid in self.line_of:
            what, line = self.lookup.describe(wnid), self.line_of[wnid]
            self._report(entry, f"{what} is already in line {line}; keep one")
            wnid = None
        if wnid is None:
            if group:
                group.has_invalid_entry = True
            return
        self.line_of[wnid] = entry.line
        if group and wnid in self.input_wnids:
            group.wnids.append(wnid)

    def _report(self, entry: Entry, text: str) -> None:
        self.problems.append(GroupsFileProblem(entry.line, text))

    def _find_group(self, entry: Entry) -> _Group | None:
        """Return the entry's group, created if new; None if the class is left out.

        Contradictory group names and the group -1 are recorded as problems.
        """
        if not entry.group:
            if entry.group_name:
                self._report(
                    entry, f"{entry.group_name!r} has no group; fill in both or neither"
                )
            return None
        if entry.group == "-1":
            self._report(entry, "group -1: leave the group empty to leave a class out")
        key = " ".join(entry.group.casefold().split())
        if whole := _WHOLE_NUMBER.fullmatch(key):  # spreadsheets write 1 as 01 or 1.0
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
        """Return the wnid of an entry, or record a problem and return None.

        All identifiers of the entry must denote the same class.
        """
        if not entry.identifiers:
            self._report(entry, "names no class; give its wnid, index or label")
            return None
        first, *others = entry.identifiers
        wnid = self.lookup.find(first)
        if wnid is None:
            # Suggestions are slow to compute.
            is_shown = len(self.problems) < _PROBLEMS_SHOWN
            text = self.lookup.explain(first) if is_shown else "unknown class"
            self._report(entry, text)
            return None
        for other in others:
            if other.kind == "class_index":
                agrees = to_index(other.text) == class_index(wnid)
            else:  # an unknown name is the user's own and does not conflict
                agrees = not self.lookup.contradicts(other.text, wnid)
            if not agrees:
                self._report(
                    entry,
                    f"{first.kind} {first.text} is {self.lookup.describe(wnid)}, but "
                    f"{other.kind} is {other.text}; correct one of them",
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
    """Read a CSV or YAML groups file and apply it to classes.

    Args:
      path: path of the file.
      classes: the classes to group.
      num_groups: required number of groups; None accepts any number of at least two.
      missing: policy for classes that the file does not mention: "error", "drop" (leave
        them out) or "other" (put them into a group of that name).
      remedy: text appended to the error about such classes.

    Raises:
      UsageError: the file is invalid; the message lists the first twenty problems.
    """
    file = read_groups_file(path)
    collector = _GroupCollector(classes)
    for entry in file.entries:
        collector.add(entry)
    problems = sorted([*file.problems, *collector.problems])
    notes: list[str] = []
    if file.entries:
        problems += _check_groups(collector)
        unnamed = sorted(collector.input_wnids - collector.line_of.keys())
        problems += _place_missing(collector, unnamed, missing, notes, remedy)
        if not file.problems:
            problems += _check_num_groups(collector, num_groups)
    if problems:
        raise UsageError("\n".join(_show(problems, path)))
    models = find_confusion_models(path)
    return _to_grouping(collector, notes, models)


def find_confusion_models(path: str) -> tuple[str, ...] | None:
    """Return the names of the models whose confusion determined a groups.csv.

    They are read from groups.json or recipe.json in the same folder.

    Returns:
      The names; empty if the models have no names. None if neither file records models,
      or if `path` is not named groups.csv.
    """
    folder, _, name = storage.absolute(path).rpartition("/")
    if name != _GENERATED:
        return None
    for sidecar, key in _SIDECARS.items():
        try:
            content = json.loads(storage.read(f"{folder}/{sidecar}"))
            models = content[key][CONFUSION_MODELS]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(models, list):
            return tuple(map(str, models))
    return None


def _check_groups(collector: _GroupCollector) -> Iterator[GroupsFileProblem]:
    for group in collector.groups.values():
        if not group.wnids and not group.has_invalid_entry:
            yield GroupsFileProblem(
                group.line,
                f"group {group.identifier!r}: none of its classes is in the input; "
                "remove it, or add the images to the input",
            )


def _place_missing(
    collector: _GroupCollector,
    missing: list[str],
    policy: str,
    notes: list[str],
    remedy: str,
) -> Iterator[GroupsFileProblem]:
    """Apply the policy to the classes that the file does not mention.

    Args:
      collector: the groups; the policy "other" adds one.
      missing: wnids of these classes.
      policy: "error", "drop" or "other".
      notes: messages for the user, extended by this function.
      remedy: text appended to the error.

    Yields:
      A problem if the policy is "error".
    """
    if not missing:
        return
    what = _count(missing, "of the input")
    if policy == "error":
        yield GroupsFileProblem(
            _NO_LINE,
            f"{what} not in the file: "
            f"{list_names(map(collector.lookup.describe, missing))}; add them (with an "
            f"empty group to leave them out){remedy}",
        )
    elif policy == "drop":
        notes.append(f"{what} not in the groups file and left out")
    else:
        notes.append(f"{what} not in the groups file and in the group {_OTHER!r}")
        other = collector.groups.setdefault(_OTHER, _Group(_OTHER, _NO_LINE))
        other.wnids += missing


def _check_num_groups(
    collector: _GroupCollector, num_groups: int | None
) -> Iterator[GroupsFileProblem]:
    num_defined = len(collector.groups)
    if not num_defined:
        yield GroupsFileProblem(
            _NO_LINE,
            "defines no groups; give each class to keep a group, in a CSV file in the "
            "column group",
        )
    elif num_groups is not None and num_defined != num_groups:
        yield GroupsFileProblem(
            _NO_LINE,
            f"defines {num_defined} groups, but --num_groups is {num_groups}; "
            "omit --num_groups or change the file",
        )
    elif num_defined < 2:
        yield GroupsFileProblem(
            _NO_LINE, f"defines {num_defined} groups; a subset needs at least 2"
        )


def _show(problems: list[GroupsFileProblem], path: str) -> Iterator[str]:
    lines = (
        f"{path}: {text}" if line == _NO_LINE else f"{path}:{line}: {text}"
        for line, text in problems
    )
    yield from cut_lines(lines, _PROBLEMS_SHOWN, more=f"{path}: and {{}} more problems")


def _to_grouping(
    collector: _GroupCollector, notes: list[str], models: tuple[str, ...] | None
) -> Grouping:
    assignment: dict[str, GroupId | None] = dict.fromkeys(collector.input_wnids)
    names: dict[GroupId, str] = {}
    for key, group in collector.groups.items():
        assignment |= dict.fromkeys(group.wnids, key)
        spelt_name = "" if key.isdecimal() else group.identifier
        names[key] = group.name or spelt_name
    if absent := sorted(collector.line_of.keys() - collector.input_wnids):
        notes.append(f"{_count(absent, 'of the groups file')} not in the input")
    notes += _note_renumbering(number_groups(assignment))
    quality: dict[str, JSON] = {}
    if models is not None:
        quality[CONFUSION_MODELS] = list(models)
    return Grouping(
        assignment=assignment, names=names, notes=tuple(notes), quality=quality
    )


def _note_renumbering(label_of: dict[GroupId, int]) -> Iterator[str]:
    """Yield a note if numbers of groups in the file differ from their labels."""
    if not all(str(key).isdecimal() for key in label_of):
        return
    changed = [
        f"{key} → {label}"
        for key, label in label_of.items()
        if str(key) != str(label)  # `_find_group` strips leading zeros
    ]
    if changed:
        yield f"groups are numbered by their smallest wnid: {list_names(changed)}"


def _count(wnids: list[str], whose: str) -> str:
    return f"{len(wnids)} {'class' if len(wnids) == 1 else 'classes'} {whose} " + (
        "is" if len(wnids) == 1 else "are"
    )
