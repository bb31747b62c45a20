"""A word that nobody knows → the word that was perhaps meant."""

import difflib
from collections.abc import Collection


def hint(word: str, known: Collection[str], *, prefix: str = "") -> str:
    """Return "; did you mean …?", or nothing when no word is near."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def describe_unknown_flag(name: str, known: Collection[str]) -> str:
    """Say that a flag is unknown, and which was perhaps meant."""
    return f"--{name}: unknown flag{hint(name, known, prefix='--')}"
