"""Measure time and memory of planning for ImageNet-1k and ImageNet-21k."""

import shutil
from pathlib import Path

from tests.benchmarks import children, synthetic_index
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings

SECONDS, PEAK_MB, TIMES_TIME, TIMES_MEMORY = 20, 600, 11, 1.5


def measure(settings: Settings) -> list[Row]:
    """Plan a subset of 100 groups × 1000 images from an index."""
    usual = [_plan(settings, settings.rows) for _ in range(settings.repetitions)]
    large = [_plan(settings, settings.large_rows)]  # takes minutes: run once
    usual_s, large_s = ([u.seconds for u in usages] for usages in (usual, large))
    usual_mb, large_mb = ([u.peak_mb for u in usages] for usages in (usual, large))
    times = [seconds / children.median(usual_s) for seconds in large_s]
    times_memory = [peak / children.median(usual_mb) for peak in large_mb]
    return [
        Row(
            what=f"planning {settings.rows:,} images: time, peak memory",
            measured=f"{children.show(usual_s, 1)} s, {children.show(usual_mb, 0)} MB",
            target=f"≤ {SECONDS} s, ≤ {PEAK_MB} MB",
            reached=children.median(usual_s) <= SECONDS
            and children.median(usual_mb) <= PEAK_MB,
            figures={
                "seconds": usual_s,
                "peak_mb": usual_mb,
                "cpu_s": [u.cpu_s for u in usual],
            },
        ),
        Row(
            what=f"planning {settings.large_rows:,} images: time, peak memory",
            measured=f"{children.show(times, 1)} ×, {children.show(times_memory, 1)} × "
            f"({children.show(large_s, 0)} s, {children.show(large_mb, 0)} MB)",
            target=f"≤ {TIMES_TIME} ×, ≤ {TIMES_MEMORY} × the row above",
            reached=children.median(times) <= TIMES_TIME
            and children.median(times_memory) <= TIMES_MEMORY,
            figures={"seconds": large_s, "peak_mb": large_mb},
        ),
    ]


def make_index(settings: Settings, num_rows: int) -> Path:
    """Write a synthetic index, unless an earlier benchmark of this size has."""
    index = settings.work / "synthetic" / f"{num_rows}.parquet"
    if not index.exists():
        index.parent.mkdir(parents=True, exist_ok=True)
        num_classes = max(1, round(num_rows * 1000 / synthetic_index.NUM_TRAIN))
        synthetic_index.write_index(
            index, num_classes=num_classes, root=str(index.parent)
        )
    return index


def _plan(settings: Settings, num_rows: int) -> Usage:
    index = make_index(settings, num_rows)
    output = settings.work / "planning"
    # Quick runs have fewer images, hence fewer groups of the same size.
    num_groups = min(max(num_rows // 12_000, 2), 100)
    try:
        return children.run_module(
            "pipelines.build",
            *("--input", index, "--output", output, "--plan_only"),
            *("--grouping", "random_groups", "--num_groups", num_groups),
            *("--images_per_group", 1000),
        )
    finally:
        shutil.rmtree(output, ignore_errors=True)
