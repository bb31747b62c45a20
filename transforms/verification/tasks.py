"""Verify parts of a dataset on any worker: hash and decode files, run readers.

The launcher divides the work into tasks, whose results are files in a work folder. For
a local dataset, some tasks hash and decode files and others run one reader each. For a
dataset in a bucket, and on other engines, each task does everything for a range of
shards, so that a file is fetched only once and few files are on a worker's disk.
"""

import itertools
import json
import math
import os
import subprocess  # nosec B404  # runs this package, without a shell
import sys
import tempfile
import threading
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import transforms
from transforms import formats, processes, storage
from transforms.processes import ProcessPool
from transforms.progress import Ticker
from transforms.records import JobError
from transforms.storage.staging import stage_folder
from transforms.verification import readers
from transforms.verification.dataset import CheckedFile, CheckedImage, DatasetFiles
from transforms.verification.images import ByteRanges, check_file
from transforms.verification.reading import END
from transforms.verification.results import UNREADABLE

ARRIVED = "arrived.json"  # in the work folder: numbers of the finished tasks
_IMAGES_PER_TASK = 1000  # that hashes and decodes files
_IMAGES_PER_PART = 50_000  # because readers take seconds to start
_BYTES_PER_PART = 1 << 29  # on a worker's disk
_READ_BYTES = 1 << 16
_INTERVAL_S = 0.05
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


def run_task(task: Task, settings: TaskSettings) -> int:
    """Run a task and write its results; return its number.

    A repeated task replaces the results by the same ones.

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
    with _open_part(task, settings) as directory:
        checked = []
        for path, images in task.files:
            checked.append((path, check_file(directory, path, images)))
            ticker.tick(len(images))
        storage.forget_open_files()
        data = json.dumps(checked).encode()
        storage.write(settings.work, f"{task.number}.json", data)
        for names in readers.share_processes(task.readers):
            _run_readers(names, task, settings, directory, ticker)
    return task.number


def name_lines(task: Task, reader: str) -> str:
    """Return the name of the file with a reader's output in the work folder."""
    return f"{task.number}.{reader}"


def _run_readers(
    names: Sequence[str],
    task: Task,
    settings: TaskSettings,
    directory: str,
    ticker: Ticker,
) -> None:
    """Write the output of each reader to a file, whose last line is the error.

    If a reader fails, another process runs the readers after it.
    """
    remaining = list(names)
    while remaining:
        limit_s = _LEAST_S + task.num_images * len(remaining) / _IMAGES_PER_S
        output = read_lines(tuple(remaining), directory, settings.splits, limit_s)
        rest, error = b"", ""
        with closing(output):
            while remaining and not error:
                name = name_lines(task, remaining.pop(0))
                with _replacing(settings.work, name) as file:
                    try:
                        rest = _copy_lines(rest, output, file, ticker)
                    except ValueError as failed:
                        error = str(failed)
                    file.write(json.dumps({"error": error}).encode() + b"\n")


def _copy_lines(
    lines: bytes, output: Iterator[bytes], file: IO[bytes], ticker: Ticker
) -> bytes:
    """Copy one reader's lines to a file, and return those of the next reader.

    Args:
      lines: lines that have been read from `output`.
      output: lines of several readers, each followed by `reading.END`.
      file: file to write.
      ticker: counts the images.

    Raises:
      ValueError: the reader failed or timed out.
    """
    num_names = 1  # the first line has the names
    while True:
        lines, end, rest = lines.partition(END)
        if lines:
            file.write(lines)
            ticker.tick(lines.count(b"\n") - num_names)
            num_names = 0
        if end:
            return rest
        try:
            lines = next(output)
        except StopIteration:
            raise ValueError("the reader ended before its last image") from None


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


_running: set[subprocess.Popen[bytes]] = set()  # readers that this process runs


def read_lines(
    names: Sequence[str], directory: str, splits: Sequence[str], limit_s: float
) -> Generator[bytes]:
    """Run readers one after another in a process; yield complete lines of its output.

    Args:
      names: names of the readers.
      directory: local folder of the dataset, or of a part of it.
      splits: splits to read.
      limit_s: seconds after which the process is ended.

    Raises:
      ValueError: a reader failed or timed out.
    """
    module = "transforms.verification.reading"
    command = [sys.executable, "-m", module, ",".join(names)]
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603  # nosec B603  # this package
            [*command, str(Path(directory).resolve()), *splits],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(scratch),
            cwd=scratch,
        ) as process,
    ):
        _running.add(process)
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        try:
            yield from _join_lines(process.stdout)
            code = process.wait()
        finally:
            process.kill()
            timed_out = not timer.is_alive()
            timer.cancel()
            _running.discard(process)
        if timed_out:
            raise ValueError(f"the reader took more than {limit_s:.0f} s and was ended")
        if code:
            raise ValueError(f"the reader failed ({code}): {_last_line(errors)}")


def _join_lines(stream: IO[bytes] | None) -> Iterator[bytes]:
    rest = b""
    while stream and (chunk := stream.read(_READ_BYTES)):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = b""
        rest += chunk[end:]


def _environment(scratch: str) -> dict[str, str]:
    """Return environment variables for a reader's process.

    They disable GPUs and network access, and move the Hugging Face cache to `scratch`.
    """
    root = str(Path(transforms.__file__).parents[1])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": scratch,
        "HF_HUB_OFFLINE": "1",
        "NO_GCE_CHECK": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


class LocalTasks:
    """Run tasks in processes of this machine, several at once.

    Few images are decoded in threads. A reader always has its own process.

    Args:
      settings: settings of all tasks.
      num_threads: number of tasks that run at once.
      num_images: number of images of the dataset.
    """

    def __init__(
        self, settings: TaskSettings, num_threads: int, num_images: int
    ) -> None:
        self._settings = settings
        self._slots = ThreadPoolExecutor(num_threads)
        self._futures: list[Future[int]] = []
        num_processes = min(num_threads, num_images // processes.LEAST_IMAGES)
        self._pool: ProcessPool | None = None
        if num_processes > 1:
            self._pool = ProcessPool(
                sys.modules[__name__], asdict(settings), num_processes
            )

    def submit(self, task: Task) -> None:
        """Run a task as soon as fewer than `num_threads` are running."""
        self._futures.append(self._slots.submit(self._run, task))

    def wait(self) -> None:
        """Wait for all tasks.

        Raises:
          JobError: a task failed, or its process was ended.
        """
        for future in wait(self._futures, return_when=FIRST_EXCEPTION).done:
            future.result()

    def close(self) -> None:
        """End running tasks and discard the others."""
        self._slots.shutdown(wait=False, cancel_futures=True)
        if self._pool:
            self._pool.close()
        # `wait` would wait forever for futures that `shutdown` has cancelled.
        running = [future for future in self._futures if not future.cancelled()]
        while wait(running, _INTERVAL_S).not_done:
            for process in list(_running):
                process.kill()

    def _run(self, task: Task) -> int:
        if self._pool and task.files:
            return int(self._pool.submit(task).result())
        return run_task(task, self._settings)


def begin(settings: Mapping[str, Any]) -> Callable[[Sequence[Any]], int]:
    """Return a function that runs a task in a process of a `ProcessPool`."""
    described = TaskSettings(**settings)
    return lambda task: run_task(Task(*task), described)


# Planning and results, in the launcher


def make_settings(
    dataset: DatasetFiles, work: str, ticks: str | None = None
) -> TaskSettings:
    """Describe a dataset to its tasks.

    Args:
      dataset: the dataset; its manifest may be damaged if no reader runs.
      work: folder for results, which the launcher and all workers reach.
      ticks: path of the `progress.Ticker`.
    """
    images = dataset.image_files
    with_images = set(itertools.chain.from_iterable(images.values()))
    present = (path for path, size in dataset.sizes.items() if size is not None)
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
    for shared in together:
        if len(shared) > 1:
            yield Task(next(numbers), (), shared, None, num_images)
            continue
        name = shared[0]
        format_name = readers.load(name).FORMAT
        num_parts = min(num_threads // len(names), num_images // _IMAGES_PER_PART)
        if num_parts < 2 or not formats.has_shard_files(format_name):
            yield Task(next(numbers), (), [name], None, num_images)
            continue
        for part in _divide(dataset, [format_name], num_parts):
            yield Task(next(numbers), (), [name], part, num_images)
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
    num_threads: int = 1,
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
            rows = list(itertools.starmap(CheckedImage, images))
            checked[path] = CheckedFile(sha256, problem, rows)
    return checked
