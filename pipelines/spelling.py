"""A word that nobody knows → the word that was perhaps meant."""

import difflib
from collections.abc import Collection

_MOST = 3


def hint(word: str, known: Collection[str], *, prefix: str = "") -> str:
    """Return "; did you mean …?", or nothing when no word is near."""
    longer = sorted(name for name in known if word and name.startswith(word))
    close = longer or difflib.get_close_matches(word, known, n=1)
    shown = " or ".join(prefix + name for name in close[:_MOST])
    return f"; did you mean {shown}?" if close else ""


def describe_unknown_flag(name: str, known: Collection[str]) -> str:
    """Say that a flag is unknown, and which was perhaps meant."""
    return f"--{name}: unknown flag{hint(name, known, prefix='--')}"
