"""Read the class lists of published subsets and those that users provide.

Each published list is a text file in this folder with one wnid per line:

dogs118               the 118 dog breeds that ImageNet-1k shares with Stanford Dogs
imagenet100_der       ImageNet-100 of PODNet and DER (class-incremental learning)
imagenet100_kaggle    ImageNet-100 as published on Kaggle
imagenet100_sololearn ImageNet-100 of Contrastive Multiview Coding and solo-learn
imagenet_a            the 200 classes of ImageNet-A
imagenet_r            the 200 classes of ImageNet-R
imagenette            ten classes that are easy to tell apart
imagewoof             ten dog breeds that are hard to tell apart
mini_imagenet         the 100 classes of miniImageNet (few-shot learning)
scan_50               the 50 classes of SCAN (unsupervised classification)
scan_100              the 100 classes of SCAN
scan_200              the 200 classes of SCAN

The three lists named ImageNet-100 differ: any two share at most 69 classes.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from importlib import resources

from transforms import csv_tables
from transforms.csv_tables import CsvError
from transforms.labels import classes
from transforms.labels.lookup import ClassLookup, Identifier, to_index
from transforms.records import UsageError, cut_lines

_SUFFIX = ".txt"
NAMES = tuple(
    sorted(
        file.name.removesuffix(_SUFFIX)
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(_SUFFIX)
    )
)


@functools.cache
def load(name: str) -> tuple[str, ...]:
    """Return the sorted wnids of a published list."""
    text = (resources.files(__name__) / f"{name}{_SUFFIX}").read_text()
    return tuple(sorted(text.split()))


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
