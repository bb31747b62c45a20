"""Load the 1000 classes and look up their indices and names."""

import re
from functools import cache
from importlib import resources
from typing import NamedTuple

_WNID = re.compile(r"n[0-9]{8}")


class ClassInfo(NamedTuple):
    """One of the 1000 classes."""

    class_index: int  # rank of the wnid
    wnid: str
    name: str  # simple label, unique
    lemmas: tuple[str, ...]  # in WordNet; some denote several classes


@cache
def load_classes() -> tuple[ClassInfo, ...]:
    """Return the 1000 classes in the order of their index."""
    path = resources.files("transforms.labels").joinpath("classes.tsv")
    _header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return tuple(
        ClassInfo(int(index), wnid, name, tuple(lemmas.split(", ")))
        for index, wnid, name, lemmas in rows
    )


@cache
def _by_wnid() -> dict[str, ClassInfo]:
    return {info.wnid: info for info in load_classes()}


def class_index(wnid: str) -> int:
    """Return the index of a wnid among the 1000 classes; -1 for other wnids."""
    info = _by_wnid().get(wnid)
    return -1 if info is None else info.class_index


def display_name(wnid: str) -> str:
    """Return the name of a class; the wnid itself if it is not one of the 1000."""
    info = _by_wnid().get(wnid)
    return wnid if info is None else info.name


def is_wnid(text: str) -> bool:
    """Return whether a string has the form of a wnid, n and 8 digits."""
    return _WNID.fullmatch(text) is not None
