"""Verify parts of a dataset on any worker: hash and decode files, run readers.

The results are files in a work folder, which the launcher and all workers reach.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import IO, NamedTuple

from transforms import storage
from transforms.progress import Ticker
from transforms.records import JobError
from transforms.storage.staging import stage_folder
from transforms.verification import readers
from transforms.verification.dataset import CheckedFile, CheckedImage
from transforms.verification.images import ByteRanges, check_file
from transforms.verification.reader_process import ReaderProcesses, copy_lines

ARRIVED = "arrived.json"  # in the work folder: numbers of the finished tasks
# Time limit of a reader: the minimum, plus time for the images.
_LEAST_S, _IMAGES_PER_S = 300, 50


class Task(NamedTuple):
    """A part of the verification.

    Attributes:
      number: number of the task; it names the files of its results.
      files: files to hash, each with the byte ranges of its images to decode.
      readers: readers to run.
      shown: files with images that the readers see; None: the whole dataset.
      num_images: number of images for the time limit of each reader.
    """

    number: int
    files: Sequence[tuple[str, ByteRanges]]
    readers: Sequence[str] = ()
    shown: Sequence[str] | None = None
    num_images: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """Settings that all tasks share.

    Attributes:
      directory: folder of the dataset.
      work: folder for results, which the launcher and all workers reach.
      splits: splits of the dataset.
      other_files: existing files without images, which every reader sees.
      group_folders: folders that every reader sees, even if a part has no images there.
      ticks: path of the `progress.Ticker`, which counts images once per check.
    """

    directory: str
    work: str
    splits: Sequence[str]
    other_files: Sequence[str]
    group_folders: Sequence[str]
    ticks: str | None = None


def run_task(
    task: Task, settings: TaskSettings, processes: ReaderProcesses | None = None
) -> int:
    """Run a task and write its results; return its number.

    A repeated task replaces the results by the same ones.

    Args:
      task: the task.
      settings: settings of all tasks.
      processes: starts the processes of readers, which its owner can end.

    Raises:
      JobError: this worker lacks the dataset or the library of a reader.
    """
    if not storage.is_folder(settings.directory):
        raise JobError(
            f"{settings.directory}: is not a folder on a worker; the dataset must be "
            "in a bucket, or in a folder that all machines share"
        )
    if missing := readers.find_missing_libraries(task.readers):
        raise JobError(
            f"a worker lacks {', '.join(missing)}: install it on every worker, or "
            "select other --readers"
        )
    ticker = Ticker(settings.ticks)
    processes = processes or ReaderProcesses()
    with _open_part(task, settings) as directory:
        checked = []
        for path, images in task.files:
            checked.append((path, check_file(directory, path, images)))
            ticker.tick(len(images))
        storage.forget_open_files()
        data = json.dumps(checked).encode()
        storage.write(settings.work, f"{task.number}.json", data)
        for names in readers.share_processes(task.readers):
            _run_readers(names, task, settings, directory, ticker, processes)
    return task.number


def count_images(tasks: Iterable[Task]) -> int:
    """Return the number of images that tasks decode."""
    return sum(len(images) for task in tasks for _, images in task.files)


def name_lines(task: Task, reader: str) -> str:
    """Return the name of the file with a reader's output in the work folder."""
    return f"{task.number}.{reader}"


def _run_readers(
    names: Sequence[str],
    task: Task,
    settings: TaskSettings,
    directory: str,
    ticker: Ticker,
    processes: ReaderProcesses,
) -> None:
    """Write the output of each reader to a file, whose last line is the error.

    If a reader fails, another process runs the readers after it.
    """
    remaining = list(names)
    while remaining:
        limit_s = _LEAST_S + task.num_images * len(remaining) / _IMAGES_PER_S
        output = processes.read_lines(
            tuple(remaining), directory, settings.splits, limit_s
        )
        rest, error = b"", ""
        with closing(output):
            while remaining and not error:
                name = name_lines(task, remaining.pop(0))
                with _replacing(settings.work, name) as file:
                    try:
                        rest = copy_lines(rest, output, file, ticker.tick)
                    except ValueError as failed:
                        error = str(failed)
                    file.write(json.dumps({"error": error}).encode() + b"\n")


@contextmanager
def _replacing(folder: str, name: str) -> Iterator[IO[bytes]]:
    """Open a file that appears in a local or remote folder when it is complete."""
    is_remote = storage.is_remote(folder)
    with tempfile.TemporaryDirectory(dir=None if is_remote else folder) as scratch:
        path = Path(scratch, name)
        with path.open("wb") as file:
            yield file
        if is_remote:
            storage.copy_folder(scratch, folder)
        else:
            path.replace(Path(folder, name))


@contextmanager
def _open_part(task: Task, settings: TaskSettings) -> Iterator[str]:
    """Yield a local folder with the files of a task, and those without images."""
    directory = settings.directory
    if task.shown is None:
        yield directory
        return
    shown = {*settings.other_files, *task.shown, *(path for path, _ in task.files)}
    with ExitStack() as stack:
        if storage.is_remote(directory):
            copied = stage_folder(directory, wanted=shown.__contains__)
            folder = stack.enter_context(copied)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            for path in shown:
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).symlink_to(Path(directory, path))
        for path in settings.group_folders:
            Path(folder, path).mkdir(parents=True, exist_ok=True)
        yield folder


def save_task(task: Task, work: str) -> None:
    """Write a task to the work folder, for `run_saved_task`."""
    storage.write(work, f"{task.number}.task", json.dumps(task).encode())


def run_saved_task(number: int, settings: TaskSettings) -> int:
    """Run a task that `save_task` has written; return its number."""
    task = json.loads(storage.read(f"{settings.work}/{number}.task"))
    return run_task(Task(*task), settings)


def read_checked(tasks: Iterable[Task], work: str) -> dict[str, CheckedFile]:
    """Read the results of all files from the work folder."""
    checked = {}
    for task in tasks:
        for path, (sha256, problem, images) in json.loads(
            storage.read(f"{work}/{task.number}.json")
        ):
            rows = list(starmap(CheckedImage, images))
            checked[path] = CheckedFile(sha256, problem, rows)
    return checked
