"""Look up classes by wnid, index, simple label or WordNet word."""

import difflib
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.records import ImageClass

_NUM_CLASSES = 1000


class Identifier(NamedTuple):
    """A class as a user writes it in a file."""

    kind: Literal["wnid", "class_index", "name", "any"]
    text: str


class ClassLookup:
    """Look up wnids among the 1000 classes and those of an input.

    Case, underscores for spaces, and extra spaces are ignored.
    """

    def __init__(self, held: Iterable[ImageClass]) -> None:
        self._name_of = {info.wnid: info.name for info in classes.load_classes()}
        self._name_of |= {c.wnid: c.name for c in held}
        self._by_name = {_fold(name): wnid for wnid, name in self._name_of.items()}
        self._by_lemma: dict[str, list[str]] = defaultdict(list)
        for info in classes.load_classes():
            for lemma in info.lemmas:
                self._by_lemma[_fold(lemma)].append(info.wnid)

    def find(self, identifier: Identifier) -> str | None:
        """Return the wnid; None if the string names no class or several."""
        kind, text = identifier
        if kind == "class_index" or (kind == "any" and _is_number(text)):
            index = int(text) if _is_number(text) else _NUM_CLASSES
            known = classes.load_classes()
            return known[index].wnid if index < _NUM_CLASSES else None
        if is_wnid(text.lower()):
            return text.lower()
        return None if kind == "wnid" else self._by_name.get(_fold(text))

    def explain(self, identifier: Identifier) -> str:
        """Explain why `find` returned None, with suggestions."""
        kind, text = identifier
        shown = repr(text[:80])
        if kind == "class_index" or (kind == "any" and _is_number(text)):
            return f"class index {shown} is not 0 to 999; give the wnid or the label"
        if kind == "wnid":
            return f"{shown} is not a wnid, n and 8 digits{self._suggest_wnid(text)}"
        if meant := self._by_lemma.get(_fold(text)):
            if len(meant) > 1:
                choices = " or ".join(self.describe(wnid) for wnid in meant)
                return f"label {shown} is ambiguous; give one of {choices}"
            return f"unknown label {shown}; did you mean {self.describe(meant[0])}?"
        close = difflib.get_close_matches(_fold(text[:80]), self._by_name, n=1)
        if close:
            meant_name = self.describe(self._by_name[close[0]])
            return f"unknown label {shown}; did you mean {meant_name}?"
        return f"unknown label {shown}; give its wnid"

    def describe(self, wnid: str) -> str:
        """Return a wnid with its name."""
        return f"{wnid} ({self._name_of.get(wnid, 'not one of the 1000')})"

    def _suggest_wnid(self, text: str) -> str:
        by_name = self._by_name.get(_fold(text))
        close = difflib.get_close_matches(text.lower()[:80], self._name_of, n=1)
        meant = by_name or (close[0] if close else None)
        return f"; did you mean {self.describe(meant)}?" if meant else "; give the wnid"


def _fold(text: str) -> str:
    return " ".join(text.replace("_", " ").casefold().split())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
