"""Count the bytes that a build reads from its input and sends through shuffles."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks import children, photographs, throughput
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings

RATIO = 1.05


def measure(settings: Settings) -> list[Row]:
    """Build a third of the classes from an index, and count bytes."""
    folder = photographs.make_archive(settings, settings.images)
    index = throughput.make_index(settings, folder)
    output = settings.work / "bytes_read"
    usage = _build(folder, index, output)
    directory = output / "chosen" / "1.0.0"
    manifest = pq.read_table(directory / "__meta__" / "manifest.parquet")
    shutil.rmtree(output)
    selected_bytes = sum(manifest["source_length"].to_pylist())
    seen = json.loads(usage.output.splitlines()[-1])
    ratio = seen["read_bytes"] / selected_bytes
    return [
        Row(
            what="build from an index: bytes read / bytes of the selected images",
            measured=f"{ratio:.3f} × ({manifest.num_rows:,} of "
            f"{settings.images:,} images)",
            target=f"≤ {RATIO} ×",
            # Other ways of reading are not counted, so none may occur.
            reached=1 <= ratio <= RATIO and not seen["otherwise_opened"],
            figures={"chosen_bytes": selected_bytes, **seen},
        ),
        Row(
            what="images that pass through shuffles",
            measured=f"{seen['images']} images "
            f"({seen['bytes'] / manifest.num_rows:.0f} bytes of references per image)",
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
        *("--images_per_group", len(wnids) // num_classes),  # all images of a class
        *("--min_validation_images", 0, "--formats", "webdataset"),
        *("--threads", 1),  # in the observed process
    )
