"""A CSV or YAML file of groups → its entries with line numbers, and all that is wrong.

CSV   a header with wnid, class_index or name, with group, and perhaps group_name
YAML  a mapping: name of a group → list of classes, each by wnid, index or label
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, NamedTuple

import yaml

from transforms import storage
from transforms.labels.lookup import Identifier
from transforms.records import UsageError

_MAX_BYTES = 10_000_000
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_YAML = {".yaml", ".yml"}
_IDENTIFIERS: tuple[Literal["wnid", "class_index", "name"], ...] = (
    "wnid",
    "class_index",
    "name",
)


class Entry(NamedTuple):
    """One class of the file."""

    line: int
    identifiers: tuple[Identifier, ...]  # of one class, the one that wins first
    group: str  # "" if left out
    group_name: str


class Problem(NamedTuple):
    """What is wrong in a line, and the remedy."""

    line: int
    text: str


@dataclass
class GroupsFile:
    """What a file holds, as far as it can be read."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(path: str) -> GroupsFile:
    """Read a file of groups.

    Raises: UsageError: it is not there, not text, too large, or of an unknown kind.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in _DELIMITERS.keys() | _YAML:
        raise UsageError(f"--groups {path}: must end in .csv, .tsv, .yaml or .yml")
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(
                f"--groups {path}: is larger than {_MAX_BYTES // 10**6} MB, which no "
                "table of groups is"
            )
        text = storage.read(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--groups {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--groups {path}: {error}; save it as UTF-8") from None
    return parse_yaml(text) if suffix in _YAML else parse_csv(text, _DELIMITERS[suffix])


def parse_csv(text: str, delimiter: str) -> GroupsFile:
    """Parse a table with a header."""
    file = GroupsFile()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        file.problems += _check_header(header)
        start = rows.line_num + 1
        for row in rows if not file.problems else ():
            line, start = start, rows.line_num + 1  # a quoted cell may span lines
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(header):
                file.problems.append(_misfit(line, len(cells), len(header)))
                continue
            file.entries.append(_to_entry(line, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        file.problems.append(Problem(rows.line_num, f"{error}; check the quotes"))
    return file


def _misfit(line: int, num_cells: int, num_columns: int) -> Problem:
    return Problem(
        line,
        f"has {num_cells} fields where the header has {num_columns}; quote names that "
        "hold the delimiter",
    )


def _check_header(header: Sequence[str]) -> Iterator[Problem]:
    shown = ",".join(header)[:80]
    if not set(header) & set(_IDENTIFIERS) or "group" not in header:
        yield Problem(
            1,
            f"the header is {shown!r}; it needs 'group' and one of wnid, class_index "
            "and name, and may have group_name",
        )
    elif len(set(header)) < len(header):
        yield Problem(1, f"the header is {shown!r}; a column stands there twice")


def _to_entry(line: int, cells: dict[str, str]) -> Entry:
    identifiers = [
        Identifier(kind, cells[kind]) for kind in _IDENTIFIERS if cells.get(kind)
    ]
    return Entry(line, tuple(identifiers), cells["group"], cells.get("group_name", ""))


def parse_yaml(text: str) -> GroupsFile:
    """Parse a mapping of lists; nodes are composed, and never made into objects."""
    file = GroupsFile()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        file.problems.append(Problem(line, f"is not YAML: {error.problem}"))
    except yaml.YAMLError as error:
        file.problems.append(Problem(1, f"is not YAML: {' '.join(str(error).split())}"))
    except RecursionError:
        file.problems.append(Problem(1, "is nested too deeply; give a list a group"))
    else:
        if isinstance(root, yaml.MappingNode):
            _read_mapping(root, file)
        else:
            file.problems.append(
                Problem(1, "is no mapping; give lines like 'dogs: [n02085620, pug]'")
            )
    return file


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _read_mapping(root: yaml.MappingNode, file: GroupsFile) -> None:
    lines: dict[str, int] = {}
    seen: set[int] = set()
    for key, value in root.value:
        line = _line(key)
        group = key.value.strip() if isinstance(key, yaml.ScalarNode) else ""
        if not group:
            problem = "the name of a group must be a text; quote it"
        elif group in lines:
            problem = (
                f"group {group!r} stands in line {lines[group]} already; join them"
            )
        elif not isinstance(value, yaml.SequenceNode):
            problem = (
                f"group {group!r} is not a list of classes; write '- ' before each"
            )
        elif not value.value:
            problem = f"group {group!r} has no classes; add some or remove it"
        elif id(value) in seen:  # aliases could make a small file endless
            problem = f"group {group!r} is an alias of another; write its classes out"
        else:
            seen.add(id(value))
            lines[group] = line
            _read_list(group, value, file)
            continue
        file.problems.append(Problem(line, problem))


def _read_list(group: str, values: yaml.SequenceNode, file: GroupsFile) -> None:
    for node in values.value:
        text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
        if text:
            entry = Entry(_line(node), (Identifier("any", text),), group, "")
            file.entries.append(entry)
        else:
            file.problems.append(
                Problem(_line(node), "is no class; give a wnid, an index or a label")
            )
