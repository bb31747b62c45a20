"""Read class lists: those of published subsets, and those that users give.

A published list is a text file here, a wnid a line:

dogs118               the 118 dog breeds that ImageNet-1k shares with Stanford Dogs
imagenet100_kaggle    ImageNet-100 as Kaggle has it; a different list from the next
imagenet100_sololearn ImageNet-100 of Contrastive Multiview Coding and solo-learn
imagenet_a            the 200 classes of ImageNet-A
imagenet_r            the 200 classes of ImageNet-R
imagenette            ten classes that are easy to tell apart
imagewoof             ten dog breeds that are not
mini_imagenet         the 100 classes of few-shot learning's miniImageNet
"""

import functools
from collections.abc import Iterator
from importlib import resources

from transforms import csv_tables
from transforms.csv_tables import CsvError
from transforms.labels import classes
from transforms.labels.lookup import ClassLookup, Identifier
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
    """Return a list's wnids, in order."""
    text = (resources.files(__name__) / f"{name}{_SUFFIX}").read_text()
    return tuple(sorted(text.split()))


_NO_CLASS = ("-", "background")
_MAX_BYTES = 10**6


@functools.lru_cache
def read(path: str) -> tuple[str, ...]:
    """Read the classes that a dataset's labels 0, 1, … stand for; "" reads no list.

    A line has a wnid (the rest is ignored, as in LOC_synset_mapping.txt), the name of a
    class, or - for a number without a class, such as 0 where labels count from 1.

    Returns:
      The wnids in the order of the lines, "" for a number without a class.

    Raises:
      UsageError: the first ten problems, each with its line.
    """
    if not path:
        return ()
    try:
        text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
    except CsvError as error:
        raise UsageError(f"--class_list {path}: {error}") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    lookup = ClassLookup(())
    wnids = [_find_wnid(line, lookup) for line in lines]
    if problems := list(_find_problems(lines, wnids, lookup)):
        shown = cut_lines(f"--class_list {path}:{problem}" for problem in problems)
        raise UsageError("\n".join(shown))
    return tuple(wnid or "" for wnid in wnids)


def _find_wnid(line: str, lookup: ClassLookup) -> str | None:
    if line.lower() in _NO_CLASS:
        return ""
    first = line.replace(",", " ").partition(" ")[0].lower()
    return first if classes.is_wnid(first) else lookup.find(Identifier("name", line))


def _find_problems(
    lines: list[str], wnids: list[str | None], lookup: ClassLookup
) -> Iterator[str]:
    """Yield `line: problem`."""
    if set(wnids) <= {""}:
        yield "1: lists no classes; give one wnid or name per line, line 1 for label 0"
        return
    line_of: dict[str, int] = {}
    for number, (line, wnid) in enumerate(zip(lines, wnids, strict=True), start=1):
        if wnid is None:
            yield f"{number}: {lookup.explain(Identifier('name', line))}"
        elif wnid and line_of.setdefault(wnid, number) < number:
            yield f"{number}: {wnid} is in line {line_of[wnid]} already; keep one"
