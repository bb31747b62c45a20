"""Compare the throughput of a build with that of a bare loop."""

import json
import shutil
from pathlib import Path

from tests.benchmarks import children, photographs
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings

WHOLE, WITHOUT_START = 0.9, 0.95


def measure(settings: Settings) -> list[Row]:
    """Time a build of all images of an archive, its planning, and the bare loop."""
    folder = photographs.make_archive(settings, settings.images)
    index = make_index(settings, folder)
    output = settings.work / "throughput"
    taken = children.alternate(
        {
            "build": lambda: build(folder, output),
            "plan": lambda: build(folder, output, "--plan_only"),
            "loop": lambda: loop("build", index, output),
        },
        settings.repetitions,
    )
    return describe(taken, settings.images)


def make_index(settings: Settings, folder: Path) -> Path:
    """Index an archive of photographs."""
    index = settings.work / f"{folder.name}.parquet"
    children.run_module("pipelines.index", "--input", folder, "--output", index)
    return index


def build(folder: Path, output: Path, *more: str, sums_memory: bool = False) -> Usage:
    """Build every image of an archive as WebDataset, and remove the output."""
    try:
        flags = ("--formats", "webdataset", *more)
        return build_all(folder, output, *flags, sums_memory=sums_memory)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def build_all(
    folder: Path, output: Path, *more: str, sums_memory: bool = False
) -> Usage:
    """Build every image of an archive with default settings."""
    return children.run_module(
        "pipelines.build",
        *("--input", folder, "--output", output, "--name", "photographs"),
        *("--grouping", "all_classes", "--min_validation_images", "0", *more),
        sums_memory=sums_memory,
    )


def loop(what: str, index: Path, output: Path) -> Usage:
    """Run the bare loop."""
    try:
        return children.run_module("tests.benchmarks.bare_loop", what, index, output)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def read_loop_seconds(usage: Usage) -> float:
    """Return the seconds of the loop, excluding the start of the process."""
    return json.loads(usage.output.splitlines()[-1])["seconds"]


def describe(taken: dict[str, list[Usage]], num_images: int) -> list[Row]:
    """Compare the runs of each repetition, and describe the ratios as rows."""
    figures = {
        "images": num_images,
        "build_s": [u.seconds for u in taken["build"]],
        "plan_s": [u.seconds for u in taken["plan"]],
        "loop_s": [u.seconds for u in taken["loop"]],
        "loop_alone_s": [read_loop_seconds(u) for u in taken["loop"]],
        "build_cpu_s": [u.cpu_s for u in taken["build"]],
        "plan_cpu_s": [u.cpu_s for u in taken["plan"]],
        "loop_cpu_s": [u.cpu_s for u in taken["loop"]],
    }
    turns = list(zip(*(figures[n] for n in list(figures)[1:]), strict=True))
    whole = [loop / build for build, _, loop, *_ in turns]
    alone = [bare / (build - plan) for build, plan, _, bare, *_ in turns]
    cpu_msec = [1000 * (build - plan) / num_images for *_, build, plan, _ in turns]
    loop_msec = [1000 * loop / num_images for *_, loop in turns]
    rate = children.show([num_images / s for s in figures["build_s"]], 0)
    return [
        Row(
            what="build: images per second, including start-up and planning",
            measured=f"{rate}; {children.show(whole)} of the bare loop",
            target=f"≥ {WHOLE} of the bare loop",
            reached=children.median(whole) >= WHOLE,
            figures=figures | {"ratio": whole},
        ),
        Row(
            what="build: images per second, excluding start-up and planning",
            measured=f"{children.show(alone)} of the bare loop",
            target=f"≥ {WITHOUT_START} of the bare loop",
            reached=children.median(alone) >= WITHOUT_START,
            figures={"ratio": alone},
        ),
        Row(
            what="build: CPU time per image, excluding start-up and planning",
            measured=f"{children.show(cpu_msec)} ms; "
            f"bare loop {children.show(loop_msec)} ms",
            target="reported",
            reached=None,
            figures={"build_msec": cpu_msec, "loop_msec": loop_msec},
        ),
    ]
