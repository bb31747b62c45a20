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
    """Build a third of the classes from an index, and look inside."""
    folder = photographs.make_archive(settings, settings.images)
    index = throughput.make_index(settings, folder)
    output = settings.work / "bytes_read"
    usage = _build(folder, index, output)
    directory = output / "chosen" / "1.0.0"
    manifest = pq.read_table(directory / "__meta__" / "manifest.parquet")
    shutil.rmtree(output)
    chosen = sum(manifest["source_length"].to_pylist())
    seen = json.loads(usage.output.splitlines()[-1])
    ratio = seen["read_bytes"] / chosen
    return [
        Row(
            what="bytes read from an index: of those of the chosen images",
            measured=f"{ratio:.3f} × ({manifest.num_rows:,} of "
            f"{settings.images:,} images)",
            target=f"≤ {RATIO} ×",
            # What is read otherwise is not counted: nothing may be.
            reached=1 <= ratio <= RATIO and not seen["otherwise_opened"],
            figures={"chosen_bytes": chosen, **seen},
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


def _build(folder: Path, index: Path, output: Path) -> Usage:
    wnids = pq.read_table(index, columns=["wnid"])["wnid"]
    num_classes = len(wnids.unique())
    return children.run_module(
        "tests.benchmarks.watched_build",
        *(folder, "--input", index, "--output", output, "--name", "chosen"),
        *("--grouping", "random_classes", "--num_groups", max(num_classes // 3, 2)),
        *("--images_per_group", len(wnids) // num_classes),  # all that a class has
        *("--min_validation_images", 0, "--formats", "webdataset"),
        *("--threads", 1),  # in the process that is looked into
    )
