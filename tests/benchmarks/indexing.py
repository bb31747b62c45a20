"""Measure the time per member of indexing official archives."""

import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tests.benchmarks import children
from tests.benchmarks.settings import Row, Settings
from transforms.labels import classes
from transforms.layouts.official_archives import TRAIN

MICROSECONDS = 20
_CLASS_IMAGES = 1300


def measure(settings: Settings) -> list[Row]:
    """Index a large and a small archive; divide the difference by the members."""
    few = max(settings.members // 100, 100)
    folders = {n: write_archive(settings, n) for n in (few, settings.members)}
    output = settings.work / "indexing.parquet"

    def index(num_members: int) -> children.Usage:
        return children.run_module(
            "pipelines.index", "--input", folders[num_members], "--output", output
        )

    taken = children.alternate(
        {"few": lambda: index(few), "many": lambda: index(settings.members)},
        settings.repetitions,
    )
    output.unlink()
    pairs = list(zip(taken["few"], taken["many"], strict=True))
    more = settings.members - few
    wall = [1e6 * (many.seconds - few.seconds) / more for few, many in pairs]
    cpu = [1e6 * (many.cpu_s - few.cpu_s) / more for few, many in pairs]
    return [
        Row(
            what="indexing official archives: time per member",
            measured=f"{children.show(wall, 1)} microseconds "
            f"({children.show(cpu, 1)} of CPU time)",
            target=f"≤ {MICROSECONDS} microseconds",
            reached=children.median(wall) <= MICROSECONDS,
            figures={
                "members": settings.members,
                "microseconds": wall,
                "cpu_microseconds": cpu,
            },
        )
    ]


def write_archive(settings: Settings, num_members: int) -> Path:
    """Write a sparse archive of class archives: headers, and holes for images.

    An archive that an earlier benchmark of the same size wrote is reused.
    """
    folder = settings.work / f"members_{num_members}"
    if folder.exists():
        return folder
    folder.mkdir()
    lengths = np.random.default_rng(0).integers(20_000, 200_000, num_members).tolist()
    with (folder / TRAIN).open("wb") as file:
        for number, start in enumerate(range(0, num_members, _CLASS_IMAGES)):
            wnid = classes.load_classes()[number].wnid
            _write_class(file, wnid, lengths[start : start + _CLASS_IMAGES])
        file.write(bytes(1024))
    return folder


def _write_class(file: BinaryIO, wnid: str, lengths: list[int]) -> None:
    padded = [-(-length // 512) * 512 for length in lengths]
    total = sum(padded) + 512 * len(lengths) + 1024
    file.write(_header(f"{wnid}.tar", total))
    for number, (length, space) in enumerate(zip(lengths, padded, strict=True), 1):
        file.write(_header(f"{wnid}_{number}.JPEG", length))
        file.seek(space, 1)
    file.write(bytes(1024))


def _header(name: str, length: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = length
    return member.tobuf(tarfile.USTAR_FORMAT)
