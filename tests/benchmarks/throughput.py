"""Compare the CPU time of a build with that of a bare loop.

`python -m tests.benchmarks throughput --repetitions 2` takes four minutes.
"""

import json
import shutil
import sys
from pathlib import Path

from tests.benchmarks import children, photographs
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings
from transforms.layouts.official_archives import TRAIN

SMALL, LARGE, WRITING = 0.70, 0.88, 0.95
_LOOP = Path(__file__).with_name("bare_loop.py")


def measure(settings: Settings) -> list[Row]:
    """Time builds of a fifth of the images and of all, their planning, and the loop."""
    few, many = settings.images // 5, settings.images
    rows = describe(_take(settings, few), few, SMALL)[:1]
    return rows + describe(_take(settings, many), many, LARGE)


def _take(settings: Settings, num_images: int) -> dict[str, list[Usage]]:
    folder = photographs.make_archive(settings, num_images)
    output = settings.work / "throughput"
    return children.alternate(
        {
            "build": lambda: build(folder, output),
            "plan": lambda: build(folder, output, "--plan_only"),
            "loop": lambda: loop("build", folder, output),
        },
        settings.repetitions,
    )


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


def loop(what: str, folder: Path, output: Path) -> Usage:
    """Run the bare loop on an archive of photographs."""
    try:
        words = (_LOOP, what, folder / TRAIN, output)
        return children.run([sys.executable, *map(str, words)])
    finally:
        shutil.rmtree(output, ignore_errors=True)


def describe(
    taken: dict[str, list[Usage]], num_images: int, target: float
) -> list[Row]:
    """Compare the runs of each repetition, and describe the ratios as rows."""
    turns = list(zip(taken["build"], taken["plan"], taken["loop"], strict=True))
    whole = [loop.cpu_s / build.cpu_s for build, _, loop in turns]
    seconds = [loop.seconds / build.seconds for build, _, loop in turns]
    alone = [
        json.loads(loop.output.splitlines()[-1])["cpu_s"] / (build.cpu_s - plan.cpu_s)
        for build, plan, loop in turns
    ]
    cpu_msec = [1000 * (build.cpu_s - p.cpu_s) / num_images for build, p, _ in turns]
    loop_msec = [1000 * loop.cpu_s / num_images for *_, loop in turns]
    rate = children.show([num_images / build.seconds for build, *_ in turns], 0)
    figures = children.list_times(taken)
    return [
        Row(
            what=f"build of {num_images:,} images: CPU time, whole process",
            measured=f"the bare loop takes {children.show(whole)} of it, and "
            f"{children.show(seconds)} of its time; {rate} images per second",
            target=f"≥ {target}",
            reached=children.median(whole) >= target,
            figures={"images": num_images, **figures, "ratio": whole},
        ),
        Row(
            what="build: CPU time, without start-up and planning",
            measured=f"the bare loop takes {children.show(alone)} of it",
            target=f"≥ {WRITING}",
            reached=children.median(alone) >= WRITING,
            figures={"ratio": alone},
        ),
        Row(
            what="build: CPU time per image, without start-up and planning",
            measured=f"{children.show(cpu_msec)} ms; "
            f"bare loop {children.show(loop_msec)} ms",
            target="reported",
            reached=None,
            figures={"build_msec": cpu_msec, "loop_msec": loop_msec},
        ),
    ]
