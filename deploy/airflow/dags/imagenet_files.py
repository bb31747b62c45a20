"""Files in buckets ↔ this machine, for jobs that read or write here only."""

import shutil
from pathlib import Path, PurePosixPath

from airflow.sdk import ObjectStoragePath
from imagenet_recipe import Flags

GOOGLE = "google_cloud_default"  # the connection


def open_path(path: str) -> ObjectStoragePath:
    """Return a path in a bucket, or on this machine."""
    return ObjectStoragePath(path, conn_id=GOOGLE if "://" in path else None)


def bring(flags: Flags, scratch: Path) -> Flags:
    """Copy what lies in a bucket, and let a folder stand for one in a bucket."""
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
        local["output"] = str(scratch / "output")
    return local


def send(folder: Path, target: str) -> None:
    """Copy a folder's files into a bucket."""
    for path in filter(Path.is_file, folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        open_path(f"{target}/{name}").write_bytes(path.read_bytes())
