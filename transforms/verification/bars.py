"""Work that is being done → a progress bar on stderr."""

import sys

from tqdm import tqdm


def show_bar(what: str, *, total: int, unit: str) -> tqdm:
    """Make a bar; it leaves nothing behind when it is closed."""
    return tqdm(
        desc=what,
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        leave=False,
        mininterval=0.2,
    )
