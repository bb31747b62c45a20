"""Declare command-line flags as the fields of a frozen dataclass.

`pipelines/cli.py` makes the parser. The declaration is separate, because methods
declare their flags too, and `transforms` does not import argparse.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


def flag(  # noqa: PLR0913  # each argument is a property of the flag
    help_text: str,
    *,
    default: Any = dataclasses.MISSING,  # noqa: ANN401  # of the field's type
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    split: str = "",
    allow_repeats: bool = False,
    metavar: str = "",
    heading: str = "",
    implies: Sequence[str] = (),
    default_note: str = "",
) -> Any:  # noqa: ANN401  # as dataclasses.field
    """Declare a flag; without a default it is required.

    Args:
      help_text: description of the value, with its unit.
      default: the value if the flag is not given.
      choices: the values that it accepts.
      minimum: the smallest number that it accepts.
      maximum: the largest number that it accepts.
      above: exclusive lower bound.
      below: exclusive upper bound.
      split: the separator of a list in one word; "": each word is a value.
      allow_repeats: whether a list that is split may hold a value twice.
      metavar: the placeholder of the value in --help.
      heading: the section of --help; "": the first one.
      implies: flags that this one sets, so that they may be missing.
      default_note: what the default is, where its value depends on the machine.
    """
    metadata = {
        "help": help_text,
        "choices": tuple(choices),
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "split": split,
        "allow_repeats": allow_repeats,
        "metavar": metavar,
        "heading": heading,
        "implies": tuple(implies),
        "default_note": default_note,
    }
    return dataclasses.field(default=default, metadata=metadata)
