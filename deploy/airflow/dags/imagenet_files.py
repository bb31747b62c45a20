"""Copy files between buckets and this machine, for jobs that use local files only."""

import shutil
from pathlib import Path, PurePosixPath

from airflow.sdk import ObjectStoragePath
from imagenet_recipe import Flags

GOOGLE = "google_cloud_default"  # the Airflow connection
_OUTPUT = "output"


def open_path(path: str) -> ObjectStoragePath:
    """Open a path in a bucket or on this machine."""
    return ObjectStoragePath(path, conn_id=GOOGLE if "://" in path else None)


def download_inputs(flags: Flags, scratch: Path) -> Flags:
    """Copy the files of --predictions and --groups from buckets to a local folder.

    Returns:
      The flags, with local paths for the copies and for the output.
    """
    local = dict(flags)
    for name in {"predictions", "groups"} & flags.keys():
        local[name] = list(flags[name])
        for number, path in enumerate(flags[name]):
            if "://" in path:
                copy = scratch / name / "/".join(PurePosixPath(path).parts[-4:])
                copy.parent.mkdir(parents=True, exist_ok=True)
                with open_path(path).open("rb") as file, copy.open("wb") as target:
                    shutil.copyfileobj(file, target)
                local[name][number] = str(copy)
    if "://" in flags.get("output", ""):
        local["output"] = str(scratch / _OUTPUT / PurePosixPath(flags["output"]).name)
    return local


def upload_outputs(scratch: Path, flags: Flags) -> None:
    """Copy the outputs, if any, in `scratch` to the bucket that the flags name."""
    outputs = scratch / _OUTPUT
    folder = flags.get("output", "").rpartition("/")[0]
    for path in filter(Path.is_file, outputs.rglob("*")):
        remote = open_path(f"{folder}/{path.relative_to(outputs).as_posix()}")
        with path.open("rb") as file, remote.open("wb") as target:
            shutil.copyfileobj(file, target)
