"""Read the class lists of published subsets and those that users provide.

Each published subset is a file in this folder, named after its preset: a text file with
one wnid per line, or a CSV table of wnids and group names. Lines at the top that start
with # contain its title, `aliases:` (other names of the preset) and `source:`.

Papers call four different lists ImageNet-100: the three files `imagenet100_*`, and
`scan_100`. Any two share at most 69 classes.
"""

import csv
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from transforms import csv_tables
from transforms.csv_tables import CsvError
from transforms.labels import classes
from transforms.labels.lookup import ClassLookup, Identifier, to_index
from transforms.records import UsageError, cut_lines

_LIST, _TABLE = ".txt", ".csv"


def _list_names(suffix: str) -> tuple[str, ...]:
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(n.removesuffix(suffix) for n in files if n.endswith(suffix)))


NAMES = _list_names(_LIST)
GROUPED_NAMES = _list_names(_TABLE)  # of subsets whose classes are in groups


@dataclass(frozen=True, kw_only=True)
class PublishedSubset:
    """A published subset of the 1000 classes."""

    name: str
    title: str
    aliases: tuple[str, ...]
    source: str
    group_of: Mapping[str, str]  # wnid → name of its group; a list has a group a class

    @property
    def num_groups(self) -> int:
        """The number of groups."""
        return len(set(self.group_of.values()))


@functools.cache
def load_subset(name: str) -> PublishedSubset:
    """Read a published subset."""
    suffix = _TABLE if name in GROUPED_NAMES else _LIST
    path = resources.files(__name__) / f"{name}{suffix}"
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line[1:].strip() for line in lines if line.startswith("#")]
    rows = [row for row in csv.reader(lines[len(head) :]) if row]
    if suffix == _TABLE:
        del rows[0]  # header
    facts = dict(line.split(": ", 1) for line in head[1:])
    return PublishedSubset(
        name=name,
        title=head[0],
        aliases=tuple(facts.get("aliases", "").split()),
        source=facts["source"],
        group_of={row[0]: row[-1] for row in sorted(rows)},
    )


def load(name: str) -> tuple[str, ...]:
    """Return the sorted wnids of a published subset."""
    return tuple(load_subset(name).group_of)


@functools.cache
def list_aliases() -> Mapping[str, str]:
    """Return the name of the published subset for each alias."""
    subsets = map(load_subset, (*NAMES, *GROUPED_NAMES))
    return {alias: subset.name for subset in subsets for alias in subset.aliases}


_NO_CLASS = ("-", "background")
_MAX_BYTES = 10**6
_SEPARATORS = re.compile(r"[\s,;]+")
_NUM_COLUMNS = 3  # leading columns that may contain the wnid and its number


@functools.lru_cache
def read(path: str) -> tuple[str, ...]:
    """Read a user's list of the classes of a dataset's labels 0, 1, ….

    Each line contains a wnid, the name of a class, or - for a label without a class,
    e.g. for label 0 if labels start at 1. An integer next to the wnid, as in Caffe's
    map_clsloc.txt, is the label; without integers, line 1 is label 0. Text after the
    wnid is ignored, as in LOC_synset_mapping.txt.

    Args:
      path: path of the list; "" for no list.

    Returns:
      The wnid of each label, "" for a label without a class; empty if `path` is "".

    Raises:
      UsageError: the list is invalid; the message lists the first ten problems.
    """
    if not path:
        return ()
    try:
        text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
    except CsvError as error:
        raise UsageError(f"--class_list {path}: {error}") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    lookup = ClassLookup(())
    entries = [_parse_line(line, lookup) for line in lines]
    wnids = [wnid for wnid, _ in entries]
    columns = [numbers for _, numbers in entries]
    problems = list(_find_problems(lines, wnids, lookup))
    if any(columns) and not problems:
        columns = [
            numbers or ((index,) if wnids[index] == "" else ())
            for index, numbers in enumerate(columns)
        ]
        problems = list(_find_number_problems(columns))
    if problems:
        shown = cut_lines(f"--class_list {path}:{problem}" for problem in problems)
        raise UsageError("\n".join(shown))
    if not any(columns):
        return tuple(wnid or "" for wnid in wnids)
    labels = (numbers[0] for numbers in columns)
    by_number = {n: wnid or "" for n, wnid in zip(labels, wnids, strict=True)}
    return tuple(by_number.get(label, "") for label in range(max(by_number) + 1))


def _parse_line(line: str, lookup: ClassLookup) -> tuple[str | None, tuple[int, ...]]:
    """Parse a line of a class list.

    Returns:
      The wnid, "" for a label without a class, or None if the class is unknown; and the
      integers next to the wnid.
    """
    cells = _SEPARATORS.split(line.lower())
    for column, cell in enumerate(cells[:_NUM_COLUMNS]):
        is_wnid = classes.is_wnid(cell)
        if not (is_wnid or cell in _NO_CLASS):
            continue
        beside = cells[max(column - 1, 0) : min(column + 2, _NUM_COLUMNS)]
        numbers = tuple(n for n in map(to_index, beside) if n is not None)
        if is_wnid and (column == 0 or numbers):
            return cell, numbers
        if not is_wnid and len(cells) == 1 + len(numbers):
            return "", numbers
    return lookup.find(Identifier("name", line)), ()


def _find_number_problems(columns: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """Yield problems as "LINE: TEXT" unless the labels are 0 to n - 1 or 1 to n.

    Args:
      columns: the integers next to the wnid of each line, in any order.
    """
    remedy = (
        "number all classes once, from 0 or from 1, without gaps, or remove all numbers"
    )
    first = 0 if (0,) in columns else 1
    last = first + len(columns) - 1
    line_of: dict[int, int] = {}
    for line, numbers in enumerate(columns, start=1):
        if not numbers:
            yield f"{line}: has no number beside a wnid, as other lines have; {remedy}"
        elif len(numbers) > 1:
            yield f"{line}: has numbers on both sides of the wnid; remove one of them"
        elif line_of.setdefault(numbers[0], line) < line:
            before = line_of[numbers[0]]
            yield f"{line}: the number {numbers[0]} is in line {before} too; {remedy}"
        elif not first <= numbers[0] <= last:
            yield (
                f"{line}: the number {numbers[0]} is not {first} to {last}, though the "
                f"list has {len(columns)} lines; {remedy}"
            )


def _find_problems(
    lines: list[str], wnids: list[str | None], lookup: ClassLookup
) -> Iterator[str]:
    """Yield unknown and repeated classes as "LINE: TEXT".

    Args:
      lines: the lines of the list.
      wnids: the wnid of each line, as returned by `_parse_line`.
      lookup: suggests corrections.
    """
    if set(wnids) <= {""}:
        yield "1: lists no classes; give one wnid or name per line, line 1 for label 0"
        return
    line_of: dict[str, int] = {}
    for number, (line, wnid) in enumerate(zip(lines, wnids, strict=True), start=1):
        if wnid is None:
            yield f"{number}: {lookup.explain(Identifier('name', line))}"
        elif wnid and line_of.setdefault(wnid, number) < number:
            yield f"{number}: {wnid} is in line {line_of[wnid]} already; keep one"
