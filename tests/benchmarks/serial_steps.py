"""Measure index, plan and commit, which one machine does, at two sizes."""

import json
import shutil
from collections.abc import Callable

from tests.benchmarks import children, indexing, planning
from tests.benchmarks.settings import Row, Settings


def measure(settings: Settings) -> list[Row]:
    """Index, plan and commit all images of a small input and of ImageNet's size."""
    return [
        _describe(name, num_images, [step(settings, num_images) for _ in range(times)])
        for num_images, times in (
            (settings.small_rows, settings.repetitions),
            (settings.rows, 1),  # takes minutes
        )
        for name, step in _STEPS.items()
    ]


def _describe(name: str, num_images: int, taken: list[tuple[float, float]]) -> Row:
    seconds, cpu_s = (list(values) for values in zip(*taken, strict=True))
    return Row(
        what=f"{name} of {num_images:,} training images",
        measured=f"{children.show(seconds, 1)} s, {children.show(cpu_s, 1)} s of CPU "
        "time",
        target="reported",
        reached=None,
        figures={"seconds": seconds, "cpu_s": cpu_s},
    )


def _index(settings: Settings, num_images: int) -> tuple[float, float]:
    folder = indexing.write_archive(settings, num_images)
    output = settings.work / "serial_steps.parquet"
    usage = children.run_module(
        "pipelines.index",
        *("--input", folder, "--output", output, "--log_format", "json"),
    )
    output.unlink()
    return _sum_phases(usage)


def _plan(settings: Settings, num_images: int) -> tuple[float, float]:
    output = settings.work / "serial_steps"
    usage = children.run_module(
        "pipelines.build",
        *("--input", planning.make_index(settings, num_images)),
        *("--output", output, "--plan_only", "--grouping", "all_classes"),
        *("--log_format", "json"),
    )
    shutil.rmtree(output)
    return _sum_phases(usage)


def _sum_phases(usage: children.Usage) -> tuple[float, float]:
    """Return the time of all phases, and the CPU time of the whole process."""
    lines = map(json.loads, filter(None, usage.output.splitlines()[:-1]))
    return sum(line.get("seconds", 0) for line in lines), usage.cpu_s


def _commit(settings: Settings, num_images: int) -> tuple[float, float]:
    folder = settings.work / "serial_steps"
    usage = children.run_module(
        "tests.benchmarks.committing",
        *(planning.make_index(settings, num_images), folder),
    )
    shutil.rmtree(folder)
    taken = json.loads(usage.output.splitlines()[-1])
    return taken["seconds"], taken["cpu_s"]


_STEPS: dict[str, Callable[[Settings, int], tuple[float, float]]] = {
    "index": _index,
    "plan": _plan,
    "commit": _commit,
}
