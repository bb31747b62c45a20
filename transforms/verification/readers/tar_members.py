"""Read tar shards member by member with Python's tarfile, which is always installed.

This reader is strict, whereas others skip unknown members: each sample must consist of
exactly three members in a fixed order, and no data may follow the last sample.
"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.verification.readers import ReadImage

FORMAT = "webdataset"
LIBRARY = ""
_SUFFIXES = ("jpg", "cls", "json")


def read_names(directory: str) -> None:
    """Return None: tar shards contain no label names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every shard of every split.

    Raises:
      ValueError: a shard has unexpected members, or data after the last sample.
    """
    for split in splits:
        for path in sorted(Path(directory, split).glob("*.tar")):
            with tarfile.open(path, "r:") as archive:
                yield from _read_samples(archive, split)
                end = archive.offset
            with path.open("rb") as file:
                file.seek(end)
                if file.read().strip(b"\0"):
                    raise ValueError(f"{path.name} has data after its end")


def _read_samples(archive: tarfile.TarFile, split: str) -> Iterator[ReadImage]:
    while members := [m for _ in _SUFFIXES if (m := archive.next()) is not None]:
        names = [member.name for member in members]
        key = names[0].partition(".")[0]
        if names != [f"{key}.{suffix}" for suffix in _SUFFIXES]:
            raise ValueError(f"{names} are not the members of one image")
        image, label, described = (_read(archive, member) for member in members)
        labels = json.loads(described)
        yield ReadImage(
            split,
            key,
            image,
            (int(label), labels["label"]),
            labels["fine_label"],
            labels["wnid"],
            labels["file_name"],
        )
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all members otherwise


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise ValueError(f"{member.name} is not a regular file")
    return file.read()
