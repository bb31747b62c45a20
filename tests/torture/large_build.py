"""Index, build and verify tiny images in ImageNet's number, and sample the memory.

python -m tests.torture.large_build FOLDER [IMAGES], 1,281,167 of the 1000 classes and
50,000 to validate with by default: the archives take 5 GB, the dataset 8 GB. Each step
is a command of its own, as a user runs it; the table tells its time and memory.
"""

import csv
import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests import making
from tests.process_tree import SampledMemory
from transforms.labels import classes
from transforms.layouts.official_archives import TRAIN, VALIDATION

NUM_TRAIN, NUM_VALIDATION = 1_281_167, 50_000
_NUM_PICTURES = 300
_SAMPLE_S = 0.5


def draw_pictures() -> list[bytes]:
    """Draw a few hundred pictures, 8×8 to 16×16 pixels."""
    sizes = [(8 + n % 9, 8 + n // 9 % 9) for n in range(_NUM_PICTURES)]
    return [making.jpeg_bytes(n, size=size) for n, size in enumerate(sizes)]


def write_imagenet(folder: Path, num_train: int, num_validation: int) -> None:
    """Write the official archives with ImageNet's class sizes, or in proportion.

    Class archives are created in memory and nested in the outer archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wnids = [known.wnid for known in classes.load_classes()]
    pictures = draw_pictures()
    with tarfile.open(folder / TRAIN, "w", format=tarfile.USTAR_FORMAT) as outer:
        for number, wnid in enumerate(wnids):
            first = num_train * number // len(wnids)
            last = num_train * (number + 1) // len(wnids)
            names = [f"{wnid}_{n - first + 1}.JPEG" for n in range(first, last)]
            inner = io.BytesIO()
            _write_tar(inner, names, pictures, first)
            _add(outer, f"{wnid}.tar", inner.getvalue())
    stems = [f"ILSVRC2012_val_{n + 1:08d}" for n in range(num_validation)]
    with (folder / VALIDATION).open("wb") as file:
        _write_tar(file, [f"{stem}.JPEG" for stem in stems], pictures, 0)
    with (folder / "LOC_val_solution.csv").open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ImageId", "PredictionString"])
        for number, stem in enumerate(stems):
            writer.writerow([stem, f"{wnids[number % len(wnids)]} 0 0 1 1"])


def _write_tar(file, names, pictures, first):
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, name in enumerate(names, first):
            _add(tar, name, pictures[number % len(pictures)])


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def run(name: str, *words: object) -> str:
    """Run a job; return its time and the peak memory of each quarter."""
    command = [sys.executable, "-m", f"pipelines.{name}", *map(str, words)]
    start = time.monotonic()
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    memory = SampledMemory(job.pid, interval_s=_SAMPLE_S)
    out, _ = job.communicate()
    found = memory.stop()
    quarters = [
        found[len(found) * n // 4 : len(found) * (n + 1) // 4] for n in range(4)
    ]
    peaks = "  ".join(f"{max(quarter, default=0):5.0f}" for quarter in quarters)
    seconds = time.monotonic() - start
    sys.stdout.write(f"{name:8} {seconds:7.0f} s  MiB by quarters: {peaks}\n")
    sys.stdout.flush()
    if job.returncode:
        sys.exit(f"{name} ended with {job.returncode}: {out}")
    return out


def attack(folder: Path, num_train: int, num_validation: int) -> None:
    """Write the images, then index, build and verify."""
    write_imagenet(folder / "imagenet", num_train, num_validation)
    sys.stdout.write(f"{num_train} + {num_validation} images\n")
    run("index", "--input", folder / "imagenet", "--output", folder / "index.parquet")
    dataset = run(
        "build",
        *("--input", folder / "index.parquet", "--output", folder),
        *("--grouping", "all_classes", "--min_validation_images", num_validation),
        *("--image_size", 8, "--images_per_shard", 10_000, "--name", "large"),
    ).strip()
    sys.stdout.write(run("verify", dataset, "--readers", "webdataset"))


if __name__ == "__main__":
    where, *wanted = sys.argv[1:]
    count = int(wanted[0]) if wanted else NUM_TRAIN
    attack(Path(where), count, min(NUM_VALIDATION, count // 4))
