"""How many bytes a build reads of its input, and how many pass a shuffle."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings

RATIO = 1.05


def measure(settings: Settings) -> list[Row]:
    """Build a third of the classes from an index, plan the same, and look inside."""
    folder = photographs.make_archive(settings, settings.images)
    index = throughput.make_index(settings, folder)
    output = settings.work / "bytes_read"
    directory = output / "chosen" / "1.0.0"
    plan = _run("pipelines.build", index, output, "--plan_only")
    usage = _run("tests.benchmarks.shuffle_watch", index, output)
    manifest = pq.read_table(directory / "__meta__" / "manifest.parquet")
    shutil.rmtree(output)
    chosen = sum(manifest["source_length"].to_pylist())
    # Both read the program, the index and the plan; only one reads images.
    ratio = (usage.read_bytes - plan.read_bytes) / chosen
    seen = json.loads(usage.output.splitlines()[-1])
    return [
        Row(
            what="bytes read from an index: of those of the chosen images",
            measured=f"{ratio:.3f} × ({manifest.num_rows:,} of "
            f"{settings.images:,} images)",
            target=f"≤ {RATIO} ×",
            reached=ratio <= RATIO,
            figures={
                "chosen_bytes": chosen,
                "build_read_bytes": usage.read_bytes,
                "plan_read_bytes": plan.read_bytes,
            },
        ),
        Row(
            what="image bytes through shuffles",
            measured=f"{seen['images']} images "
            f"({seen['bytes'] / manifest.num_rows:.0f} bytes of references an image)",
            target="0",
            reached=seen["images"] == 0,
            figures=seen,
        ),
    ]


def _run(module: str, index: Path, output: Path, *more: str) -> Usage:
    wnids = pq.read_table(index, columns=["wnid"])["wnid"]
    num_classes = len(wnids.unique())
    each = len(wnids) // num_classes  # as many as every class has
    return children.run_module(
        module,
        *("--input", index, "--output", output, "--name", "chosen", *more),
        *("--grouping", "random_classes", "--num_groups", max(num_classes // 3, 2)),
        *("--images_per_group", each, "--min_validation_images", 0),
        *("--formats", "webdataset"),
    )
