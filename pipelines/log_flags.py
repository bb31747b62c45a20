"""Declare the flag that selects the format of a job's log."""

import dataclasses
import sys

from transforms.options import flag
from transforms.progress import JsonLines


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogFlags:
    """The flag for the format of the log on stderr."""

    log_format: str = flag(
        "text with progress bars, or json: one object per line, for every message and "
        "for every phase with its counts and seconds",
        default="text",
        choices=("text", "json"),
    )

    def open_log(self) -> None:
        """Write all further messages of this process in the selected format."""
        if self.log_format == "json" and not isinstance(sys.stderr, JsonLines):
            sys.stderr = JsonLines(sys.stderr)
