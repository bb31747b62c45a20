"""Classes → groups, without reading an image: groups.csv, groups.json and a page."""

import dataclasses
from collections.abc import Iterator

from pipelines import presets
from pipelines.classes import GroupingFlags
from pipelines.options import flag
from transforms import grouping

_PROG = "python -m pipelines.group"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupOptions(GroupingFlags):
    """Group the classes of an index, or the 1000, without reading an image."""

    index: str | None = flag(
        "an index, whose classes and numbers of images count; the 1000 without",
        default=None,
        metavar="FILE",
    )
    output: str | None = flag("folder of groups.csv and its page", default=None)
    export_starter: str | None = flag(
        "also write a table of the classes to edit for --grouping=manual",
        default=None,
        metavar="FILE",
    )

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        if not self.output and not self.export_starter:
            yield "--output: is required (a folder), or --export_starter FILE"
        if self.output and not presets.expand(self).grouping:
            yield f"--grouping: is required (one of {', '.join(grouping.METHODS)})"
        if self.groups and self.grouping not in {None, "manual"}:
            yield f"--groups {self.groups}: goes with --grouping=manual only"
        if self.grouping == "manual" and not self.groups:
            yield "--grouping manual: needs --groups FILE"
        yield from presets.find_contradictions(self)
