"""Run all or selected benchmarks, print one table and write the figures as JSON.

python -m tests.benchmarks
python -m tests.benchmarks throughput planning --quick
python -m tests.benchmarks --write docs/benchmarks.md
python -m tests.benchmarks --from benchmarks.json --write docs/benchmarks.md
"""

import argparse
import dataclasses
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import machine, report
from tests.benchmarks.settings import QUICK, NotMeasured, Row, Settings

NAMES = (  # modules of this folder, in the order of the table
    *("throughput", "peers", "training_tar", "resizing", "planning", "indexing"),
    "serial_steps",
    *("inspecting", "bytes_read", "memory", "buckets", "startup", "grouping"),
    *("predicting", "on_dask", "loading", "training", "verifying"),
)


def main(argv: Sequence[str]) -> None:
    """Run from the command line."""
    flags = _parse(argv)
    if flags.source is None:
        with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=flags.work) as work:
            results, text = _run(flags, _make_settings(flags, Path(work)))
        flags.json.write_text(text, encoding="utf-8")
        rows = [row for rows in results.values() for row in rows]
    else:
        rows = report.from_json(flags.source.read_text(encoding="utf-8"))[0]
    sys.stdout.write(report.to_table(rows) + "\n")
    if flags.write:
        report.write_page(flags.source or flags.json, flags.write)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", allow_abbrev=False, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=", ".join(_find_names()))
    add("--quick", action="store_true", help="small sizes, for a check")
    for field in dataclasses.fields(Settings):
        if field.type is int:
            add(f"--{field.name}", type=int, help=f"default: {field.default}")
    real = os.environ.get("SUBSETS_REAL_DATA")
    add(
        "--photographs",
        type=Path,
        default=Path(real, "full_size") if real else None,
        help="folder of <wnid>/*.JPEG (default: full_size in $SUBSETS_REAL_DATA)",
    )
    add("--peer_python", type=Path, help="Python executable with img2dataset")
    add("--work", type=Path, help="folder for large temporary files")
    add("--json", type=Path, default=Path("benchmarks.json"), help="figures to write")
    add("--from", dest="source", type=Path, help="figures to read instead")
    add("--write", type=Path, metavar="PAGE", help="page to write")
    flags = parser.parse_args(argv)
    if unknown := set(flags.names) - set(_find_names()):
        parser.error(f"no benchmark {sorted(unknown)[0]}: {', '.join(_find_names())}")
    return flags


def _find_names() -> list[str]:
    package = __package__ or "tests.benchmarks"
    return [n for n in NAMES if importlib.util.find_spec(f"{package}.{n}")]


def _make_settings(flags: argparse.Namespace, work: Path) -> Settings:
    sizes = {
        field.name: value
        for field in dataclasses.fields(Settings)
        if field.name != "work" and (value := getattr(flags, field.name)) is not None
    }
    return Settings(work=work, **{**(QUICK if flags.quick else {}), **sizes})


def _run(
    flags: argparse.Namespace, settings: Settings
) -> tuple[dict[str, list[Row]], str]:
    description = machine.describe()
    results: dict[str, list[Row]] = {}
    for name in flags.names or _find_names():
        sys.stderr.write(f"{name} …\n")
        benchmark = importlib.import_module(f"tests.benchmarks.{name}")
        try:
            results[name] = benchmark.measure(settings)
        except NotMeasured as reason:
            results[name] = [_not_measured(name, reason)]
    return results, report.to_json(results, description, settings)


def _not_measured(name: str, reason: NotMeasured) -> Row:
    return Row(
        what=name,
        measured=f"not measured: {reason}",
        target="",
        reached=None,
        figures={},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
