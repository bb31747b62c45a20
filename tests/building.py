"""Build datasets in this process, and read what they contain."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from pipelines import build

# Small and fast: 3 groups × 20 training images, 30 validation images, three shards.
FLAGS = {
    "grouping": "random_groups",
    "num_groups": "3",
    "images_per_group": "20",
    "min_validation_images": "30",
    "image_size": "32",
    "images_per_shard": "25",
    "formats": "webdataset",
    "name": "small",
}


def command_line(imagenet: Path, output: Path, **flags: object) -> list[str]:
    """Return the flags of a small build; None omits a flag, True omits its value."""
    values = {"input": str(imagenet), "output": str(output), **FLAGS, **flags}
    words = []
    for name, value in values.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None:
            words.append(f"--{name}={value}")
    return words


def run(imagenet: Path, output: Path, **flags: object) -> Path:
    """Run a build in this process; return the directory of the dataset."""
    build.main(command_line(imagenet, output, **flags))
    name, version = flags.get("name", FLAGS["name"]), "1.0.0"
    suffix = ".plan" if flags.get("plan_only") else ""
    return output / str(name) / f"{version}{suffix}"


def checksums(directory: Path) -> dict[str, str]:
    """Hash every file of a dataset."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def manifest(directory: Path) -> list[dict]:
    """Read the manifest of a dataset."""
    return pq.read_table(directory / "__meta__" / "manifest.parquet").to_pylist()


def read_json(directory: Path, name: str) -> dict:
    """Read a JSON file of a dataset."""
    return json.loads((directory / name).read_bytes())
