"""Look up classes by wnid, index, name or WordNet lemma."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.records import ImageClass

_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,9})(?:\.0*)?")


class Identifier(NamedTuple):
    """A user's reference to a class, and the kind of reference."""

    kind: Literal["wnid", "class_index", "name", "any"]
    text: str


class ClassLookup:
    """Resolves class identifiers (wnids, class indices or names) to wnids.

    A name matches the display name of any of the 1000 classes or of the input's
    classes, or a WordNet lemma of one of the 1000. A name that matches several classes
    is ambiguous. Case, extra spaces, and underscores in place of spaces are ignored.

    Args:
      held: the classes of the input.
    """

    def __init__(self, held: Iterable[ImageClass]) -> None:
        self._name_of = {info.wnid: info.name for info in classes.load_classes()}
        self._name_of |= {c.wnid: c.name for c in held}
        self._owners: dict[str, list[str]] = defaultdict(list)  # wnids by label
        for wnid, name in self._name_of.items():
            self._owners[_fold(name)].append(wnid)
        self._by_name = {name: wnids[0] for name, wnids in self._owners.items()}
        for info in classes.load_classes():
            for lemma in map(_fold, info.lemmas):
                if info.wnid not in self._owners[lemma]:
                    self._owners[lemma].append(info.wnid)

    def find(self, identifier: Identifier) -> str | None:
        """Return the wnid of an identifier.

        An identifier in the form of a wnid is returned in lower case, without a check
        that the class exists.

        Returns:
          The wnid; None if the index or name is unknown or ambiguous.
        """
        kind, text = identifier
        number = to_index(text)
        if kind == "class_index" or (kind == "any" and number is not None):
            known = classes.load_classes()
            if number is None or not 0 <= number < len(known):
                return None
            return known[number].wnid
        if is_wnid(text.lower()):
            return text.lower()
        owners = [] if kind == "wnid" else self._owners.get(_fold(text), [])
        return owners[0] if len(owners) == 1 else None

    def contradicts(self, name: str, wnid: str) -> bool:
        """Return whether a name is that of another class and not a lemma of `wnid`."""
        folded = _fold(name)
        owner = self._by_name.get(folded)
        return owner is not None and wnid not in self._owners[folded]

    def explain(self, identifier: Identifier) -> str:
        """Return an error message for an identifier for which `find` returns None."""
        kind, text = identifier
        shown = repr(text[:80])
        if kind == "class_index" or (kind == "any" and to_index(text) is not None):
            return f"class index {shown} is not 0 to 999; give the wnid or the label"
        if kind == "wnid":
            return f"{shown} is not a wnid, n and 8 digits{self._suggest_wnid(text)}"
        if meant := sorted(self._owners.get(_fold(text), [])):
            choices = " or ".join(map(self.describe, meant))
            return f"label {shown} is ambiguous; give one of {choices}"
        close = difflib.get_close_matches(_fold(text[:80]), self._owners, n=1)
        if close:
            choices = " or ".join(map(self.describe, sorted(self._owners[close[0]])))
            return f"unknown label {shown}; did you mean {choices}?"
        return f"unknown label {shown}; give its wnid"

    def describe(self, wnid: str) -> str:
        """Format a wnid and its name for messages, e.g. "n01440764 (tench)"."""
        return f"{wnid} ({self._name_of.get(wnid, 'not one of the 1000')})"

    def _suggest_wnid(self, text: str) -> str:
        close = difflib.get_close_matches(text.lower()[:80], self._name_of, n=1)
        meant = sorted(self._owners.get(_fold(text), [])) or close
        choices = " or ".join(map(self.describe, meant))
        return f"; did you mean {choices}?" if meant else "; give the wnid"


def _fold(text: str) -> str:
    return " ".join(text.replace("_", " ").casefold().split())


def to_index(text: str) -> int | None:
    """Parse a whole number such as 7, 07 or 7.0; None for other text."""
    whole = _WHOLE_NUMBER.fullmatch(text)
    return int(whole[1]) if whole else None
