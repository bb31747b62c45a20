"""Rows of all benchmarks → a table for the eye, JSON, and the page in docs."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.settings import Row, Settings

_HEADS = ("what", "measured", "target", "reached")
_WORDS = {True: "yes", False: "no", None: "-"}


def to_table(rows: Sequence[Row]) -> str:
    """Write rows as a table of even columns."""
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
    """Keep everything; of the settings, what is no path."""
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
    """Write the JSON's table as the page in docs."""
    rows, machine, sizes = from_json(text)
    shown = [_HEADS, *(_cells(row) for row in rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in shown]
    lines.insert(1, "| --- | --- | --- | --- |")
    versions = ", ".join(f"{n} {v}" for n, v in machine["versions"].items())
    changed = " with changes that are not committed" if machine["changed"] else ""
    return f"""\
# How fast it is

`make bench` measures all of this, what is compared in one run and in turns: medians
of {sizes["repetitions"]} repetitions, the smallest and largest in brackets. \
Throughput is of {sizes["images"]:,} images. [What is not reached](speed.md), and why.

{chr(10).join(lines)}

Measured at commit `{machine["commit"][:12]}`{changed} on {machine["cores"]} cores of \
{machine["processor"]}, {machine["memory_gb"]} GB, {machine["system"]}, \
Python {machine["python"]}; {versions}.

The page is written from the figures of a run, `benchmarks.json`, which hold every
repetition:

```sh
python -m tests.benchmarks --from benchmarks.json --write docs/benchmarks.md
```
"""


def write_page(source: Path, page: Path) -> None:
    """Renew the page."""
    page.write_text(to_page(source.read_text(encoding="utf-8")), encoding="utf-8")
