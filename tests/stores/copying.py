"""Copy local folders to buckets, and hash their objects."""

import hashlib
from pathlib import Path

from transforms import storage


def upload(source: Path, target: str) -> str:
    """Copy a local folder to a bucket; return its path."""
    storage.copy_folder(str(source), target)
    return target


def checksums(directory: str) -> dict[str, str]:
    """Hash every object of a folder."""
    return {
        path: hashlib.sha256(storage.read(f"{directory}/{path}")).hexdigest()
        for path in storage.list_files(directory)
    }
