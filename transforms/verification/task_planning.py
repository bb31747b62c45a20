"""Divide the verification of a dataset into tasks.

For a local dataset, some tasks hash and decode files and others run readers.
For a dataset in a bucket, and on other engines, each task does everything for a range
of shards, so that a file is fetched only once and few files are on a worker's disk.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from transforms import formats, processes
from transforms.verification import readers
from transforms.verification.dataset import DatasetFiles
from transforms.verification.images import ByteRanges
from transforms.verification.results import UNREADABLE
from transforms.verification.tasks import Task, TaskSettings, count_images

_IMAGES_PER_TASK = 1000  # that hashes and decodes files
_IMAGES_PER_PART = 50_000  # because readers take seconds to start
_BYTES_PER_PART = 1 << 29  # on a worker's disk


def make_settings(
    dataset: DatasetFiles, work: str, ticks: str | None = None
) -> TaskSettings:
    """Describe a dataset to its tasks.

    Args:
      dataset: the dataset; its manifest may be damaged if no reader runs.
      work: folder for results, which the launcher and all workers reach.
      ticks: path of the `progress.Ticker`.
    """
    images: Mapping[tuple[str, str], Sequence[str]] = {}
    present: Sequence[str] = ()
    with suppress(*UNREADABLE):  # as the checks report
        images = dataset.image_files
        present = [path for path, size in dataset.sizes.items() if size is not None]
    with_images = set(itertools.chain.from_iterable(images.values()))
    folders = {
        Path(path).parent
        for (name, _), paths in images.items()
        if not formats.has_shard_files(name)
        for path in paths
    }
    of_splits, groups = {f.parent for f in folders}, {f.name for f in folders}
    return TaskSettings(
        directory=dataset.directory,
        work=work,
        splits=_list_splits(dataset),
        other_files=[path for path in present if path not in with_images],
        group_folders=[
            str(Path(*pair)) for pair in itertools.product(of_splits, groups)
        ],
        ticks=ticks,
    )


def _list_splits(dataset: DatasetFiles) -> tuple[str, ...]:
    with suppress(*UNREADABLE):
        return dataset.splits
    return ()


def plan_side_by_side(
    dataset: DatasetFiles,
    ranges: Mapping[str, ByteRanges],
    names: Sequence[str],
    num_threads: int,
) -> Iterator[Task]:
    """Yield tasks that run readers, then tasks that each check some files.

    A task runs one reader. If there are more readers than threads, it runs those that
    share a process.

    Args:
      dataset: a local dataset.
      ranges: byte ranges of the images in each file.
      names: readers to run.
      num_threads: number of tasks that run at once; readers are divided among them.
    """
    numbers = itertools.count()
    num_images = sum(map(len, ranges.values()))
    together: list[tuple[str, ...]] = [(name,) for name in names]
    if num_threads < len(names):
        together = readers.share_processes(names)
    threads_per_reader = num_threads // max(len(names), 1)
    num_parts = min(threads_per_reader, num_images // _IMAGES_PER_PART)
    for shared in together:
        format_name = readers.load(shared[0]).FORMAT
        parts: Iterable[Sequence[str] | None] = [None]
        if num_parts > 1 and formats.has_shard_files(format_name):
            # With as many threads, `shared` is one reader.
            parts = _divide(dataset, [format_name], num_parts)
        for part in parts:
            yield Task(next(numbers), (), shared, part, num_images)
    batch: list[tuple[str, ByteRanges]] = []
    size = 0
    for path in dataset.list_present():
        batch.append((path, ranges.get(path, ())))
        size += max(len(batch[-1][1]), 1)
        if size >= _IMAGES_PER_TASK:
            yield Task(next(numbers), batch)
            batch, size = [], 0
    if batch:
        yield Task(next(numbers), batch)


def plan_by_part(
    dataset: DatasetFiles,
    ranges: Mapping[str, ByteRanges],
    names: Sequence[str],
    num_threads: int,
) -> Iterator[Task]:
    """Yield tasks that each check a range of shards, with every reader.

    Args:
      dataset: the dataset.
      ranges: byte ranges of the images in each file.
      names: readers to run.
      num_threads: least number of tasks, if there are enough images.
    """
    num_images = sum(map(len, ranges.values()))
    num_bytes = sum(size or 0 for size in dataset.sizes.values())
    num_parts = max(
        math.ceil(num_images / _IMAGES_PER_PART),
        math.ceil(num_bytes / _BYTES_PER_PART),
        min(num_threads, num_images // processes.LEAST_IMAGES),
    )
    present = dataset.list_present()
    parts = list(_divide(dataset, formats.FORMATS, num_parts))
    others = set(present).difference(*parts)
    for number, part in enumerate(parts):
        own = {*part, *others} if number == 0 else set(part)
        files = [(path, ranges.get(path, ())) for path in present if path in own]
        yield Task(number, files, names, part, num_images)


def count_reads(tasks: Sequence[Task]) -> int:
    """Return how often tasks read an image: once to decode it, and in each reader."""
    names = {name for task in tasks for name in task.readers}
    return count_images(tasks) * (1 + len(names))


def _divide(
    dataset: DatasetFiles, names: Sequence[str], num_parts: int
) -> Iterator[list[str]]:
    """Divide the files with images of some formats into parts.

    Every part has files of each split, because some readers require them. There are
    therefore fewer parts if a split has fewer files.
    """
    splits = _list_splits(dataset)
    files = {
        key: paths for key, paths in dataset.image_files.items() if key[0] in names
    }
    most = [len(paths) for (_, split), paths in files.items() if split in splits]
    num_parts = max(min([num_parts, *most]), 1)
    for part in range(num_parts):
        yield [
            path
            for paths in files.values()
            for path in paths[
                len(paths) * part // num_parts : len(paths) * (part + 1) // num_parts
            ]
        ]
