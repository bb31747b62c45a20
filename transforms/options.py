"""Declare command-line flags as the fields of a frozen dataclass.

`pipelines/cli.py` creates the parser from these fields. The declarations do not depend
on argparse, so that samplers, groupings and other plug-ins can declare flags too.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


def flag(  # noqa: PLR0913  # each argument is a property of the flag
    help_text: str,
    *,
    default: Any = dataclasses.MISSING,
    choices: Sequence[str] = (),
    expand: Callable[[str], Sequence[str]] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    split: str = "",
    allow_repeats: bool = False,
    metavar: str = "",
    absent: str = "",
    heading: str = "",
    implies: Sequence[str] = (),
    default_note: str = "",
    dask_default: Any = None,
) -> Any:
    """Declare a flag as a dataclass field; a flag without a default is required.

    Args:
      help_text: description of the value, with its unit.
      default: value if the flag is not given.
      choices: allowed values; empty allows any value.
      expand: function that returns the values which one word of a list stands for, ()
        to check the word against `choices`; it raises ValueError for invalid words.
      minimum: inclusive lower bound.
      maximum: inclusive upper bound.
      above: exclusive lower bound.
      below: exclusive upper bound.
      split: separator of list items within one argument, e.g. ","; "" if each item is
        an argument of its own.
      allow_repeats: whether a list with a `split` separator may repeat a value.
      metavar: placeholder of the value in --help.
      absent: message if the value is a local path that does not exist; "" does not
        check it.
      heading: section of --help that lists the flag; "" for the first section.
      implies: flags that need not be given if this one is, because it sets them.
      default_note: description of the default in --help if its value depends on the
        machine.
      dask_default: default with --runner=DaskRunner; None if it does not differ.
    """
    metadata = {
        "help": help_text,
        "choices": tuple(choices),
        "expand": expand,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "split": split,
        "allow_repeats": allow_repeats,
        "metavar": metavar,
        "absent": absent,
        "heading": heading,
        "implies": tuple(implies),
        "default_note": default_note,
        "dask_default": dask_default,
    }
    return dataclasses.field(default=default, metadata=metadata)
