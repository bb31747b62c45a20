"""Tar shards → images, member by member, through Python's tarfile: installed always.

It is stricter than the others, who pass over what they do not know: a sample is its
three members in their order, and nothing stands between samples or behind the last.
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
    """Tell that the tars hold no names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every shard of every split.

    Raises: ValueError: it holds more than samples.
    """
    for split in splits:
        for path in sorted(Path(directory, split).glob("*.tar")):
            with tarfile.open(path, "r:") as archive:
                yield from _read_samples(archive, split)
                end = archive.offset
            with path.open("rb") as file:
                file.seek(end)
                if file.read().strip(b"\0"):
                    raise ValueError(f"{path.name} has data behind its end")


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
        archive.members = []  # type: ignore[attr-defined]  # kept, all of them, else


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise ValueError(f"{member.name} is no plain file")
    return file.read()
