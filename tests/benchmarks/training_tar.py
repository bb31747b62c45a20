"""Make a dataset that trains from the official training tar, in three ways.

Ours reads the chosen images from the tar. The others extract the tar first; then one
copies the chosen files, and the other converts them with img2dataset.
"""

import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks import children, peers, photographs
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import NotMeasured, Row, Settings
from transforms.layouts.official_archives import TRAIN

NUM_GROUPS = 100
_DIVISOR = 300  # of the images, for the images per group: 200 of 60,000
_MEAN_BYTES = 115_000
_EXTRACT = """\
set -e
mkdir -p "$2"
tar -xf "$1" -C "$2"
cd "$2"
for archive in *.tar; do
  mkdir "${archive%.tar}"
  tar -xf "$archive" -C "${archive%.tar}"
  rm "$archive"
done
"""
_COPY = """\
import pathlib, shutil, sys
listed, target = map(pathlib.Path, sys.argv[1:])
for line in listed.read_text().splitlines():
    source = pathlib.Path(line)
    folder = target / source.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / source.name)
"""


def measure(settings: Settings) -> list[Row]:
    """Run each way once, and remove what it made."""
    version = peers.find_version(settings.peer_python)
    needed = 3 * settings.tar_images * _MEAN_BYTES
    if shutil.disk_usage(settings.work).free < needed:
        raise NotMeasured(f"needs {needed / 1e9:.0f} GB in --work")
    folder = photographs.make_archive(settings, settings.tar_images)
    output, extracted = settings.work / "chosen", settings.work / "extracted"
    copied, listed = settings.work / "copied", settings.work / "chosen.txt"
    try:
        ours = _build(folder, output, settings.tar_images // _DIVISOR)
        files = _list_chosen(output, extracted)
        listed.write_text("\n".join(map(str, files)), encoding="utf-8")
        words = (_EXTRACT, "sh", folder / TRAIN, extracted)
        extracting = children.run(["sh", "-c", *map(str, words)])
        copying = children.run([sys.executable, "-c", _COPY, str(listed), str(copied)])
        num_threads, _ = peers.find_num_threads(settings, files)
        converting = peers.run_peer(settings, files, num_threads)
    finally:
        for path in (folder, output, extracted, copied):
            shutil.rmtree(path, ignore_errors=True)
    ways = {
        "build": [ours],
        "extracting and copying files": [extracting, copying],
        f"extracting and img2dataset {version}": [extracting, converting],
    }
    return [
        Row(
            what=f"official tar to a dataset that trains, {len(files):,} of "
            f"{settings.tar_images:,} images: time, bytes read, bytes written",
            measured="; ".join(f"{way}: {_show(ways[way])}" for way in ways),
            target="reported",
            reached=None,
            figures={
                way: [usage._replace(output="") for usage in usages]
                for way, usages in ways.items()
            },
        )
    ]


def _build(folder: Path, output: Path, images_per_group: int) -> Usage:
    return children.run_module(
        "pipelines.build",
        *("--input", folder, "--output", output, "--name", "chosen"),
        *("--grouping", "random_groups", "--num_groups", NUM_GROUPS),
        *("--images_per_group", images_per_group, "--min_validation_images", 0),
        *("--formats", "webdataset"),
    )


def _list_chosen(output: Path, extracted: Path) -> list[Path]:
    """List the files of the chosen images, in the order of the dataset."""
    manifest = output / "chosen" / "1.0.0" / "__meta__" / "manifest.parquet"
    rows = pq.read_table(manifest, columns=["wnid", "key"]).to_pylist()
    return [extracted / row["wnid"] / f"{row['key']}.JPEG" for row in rows]


def _show(usages: list[Usage]) -> str:
    seconds = sum(usage.seconds for usage in usages)
    read = sum(usage.read_bytes for usage in usages) / 1e9
    written = sum(usage.written_bytes for usage in usages) / 1e9
    return f"{seconds:.0f} s, {read:.2f} GB, {written:.2f} GB"
