"""Format benchmark results as a text table, JSON and the page in docs."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.settings import Row, Settings

_HEADS = ("benchmark", "result", "target", "met")
_WORDS = {True: "yes", False: "no", None: "-"}


def to_table(rows: Sequence[Row]) -> str:
    """Format rows as a text table with aligned columns."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    return row.what, row.measured, row.target, _WORDS[row.reached]


def to_json(
    results: Mapping[str, Sequence[Row]], machine: Mapping[str, Any], settings: Settings
) -> str:
    """Serialise all figures, and the settings that are sizes."""
    sizes = {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if isinstance(value, int)
    }
    benchmarks = {
        name: [dataclasses.asdict(row) for row in rows]
        for name, rows in results.items()
    }
    return json.dumps(
        {"machine": machine, "sizes": sizes, "benchmarks": benchmarks}, indent=1
    )


def from_json(text: str) -> tuple[list[Row], dict[str, Any], dict[str, int]]:
    """Read what `to_json` wrote: rows, machine, sizes."""
    read = json.loads(text)
    rows = [Row(**row) for rows in read["benchmarks"].values() for row in rows]
    return rows, read["machine"], read["sizes"]


def to_page(text: str) -> str:
    """Format the figures of a JSON file as the page in docs."""
    rows, machine, sizes = from_json(text)
    shown = [_HEADS, *(_cells(row) for row in rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in shown]
    lines.insert(1, "| --- | --- | --- | --- |")
    versions = ", ".join(f"{n} {v}" for n, v in machine["versions"].items())
    changed = " with uncommitted changes" if machine["changed"] else ""
    return f"""\
# Benchmarks

`make bench` measures all of this; programs that are compared run alternately. Figures
are medians of {sizes["repetitions"]} repetitions, with minimum and maximum in \
brackets. Throughput is measured on {sizes["images"]:,} images.
[Where the time goes](speed.md) explains the missed targets.

{chr(10).join(lines)}

Measured at commit `{machine["commit"][:12]}`{changed} on {machine["cores"]} cores of \
{machine["processor"]}, {machine["memory_gb"]} GB, {machine["system"]}, \
Python {machine["python"]}; {versions}.

This page is generated from `benchmarks.json`, which has the figures of all repetitions:

```sh
python -m tests.benchmarks --from benchmarks.json --write docs/benchmarks.md
```
"""


def write_page(source: Path, page: Path) -> None:
    """Write the page."""
    page.write_text(to_page(source.read_text(encoding="utf-8")), encoding="utf-8")
