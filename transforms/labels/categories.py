"""The tables of 67 hand-made categories → the category of each of the 1000 classes."""

from functools import cache
from importlib import resources
from typing import NamedTuple


class Fix(NamedTuple):
    """A class that stands in a category it plainly does not belong to."""

    wnid: str
    from_category: str
    to_category: str
    reason: str


def load_categories(*, with_fixes: bool = False) -> dict[str, str]:
    """Return the category of each class, by wnid; as published, or with the fixes."""
    categories = dict(_read("curated_categories.tsv"))
    if with_fixes:
        categories |= {fix.wnid: fix.to_category for fix in load_fixes()}
    return categories


@cache
def load_fixes() -> tuple[Fix, ...]:
    """Return what the fixes change, by wnid."""
    return tuple(Fix(*row) for row in _read("curated_fixes.tsv"))


def _read(name: str) -> list[list[str]]:
    path = resources.files("transforms.labels").joinpath(name)
    _header, *lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]
