"""Open a dataset with users' readers, one process each, and compare the results."""

import json
import os
import subprocess  # nosec B404  # runs this package, without a shell
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from importlib import util
from pathlib import Path
from typing import IO, Any, NamedTuple

import transforms
from transforms import storage
from transforms.progress import make_bar
from transforms.verification import readers
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems, Row

# Time limit of a reader: the minimum, plus time for the images.
_LEAST_S, _IMAGES_PER_S = 300, 50


class _ReaderResult(NamedTuple):
    """What a reader gives for one image, as far as it has the fields."""

    split: str
    label: int
    sha256: str
    fine_label: int | None
    wnid: str | None
    file_name: str | None


def open_with(name: str, dataset: DatasetFiles) -> Row:
    """Open the dataset with one reader, if installed and its format was written."""
    title, reader = f"opened with {name}", readers.load(name)
    try:
        if reader.FORMAT not in dataset.formats:
            return Row(title, check_results.NOT_WRITTEN, reader.FORMAT)
    except check_results.UNREADABLE as error:
        return Row(
            title,
            check_results.MISMATCH,
            "not opened",
            (check_results.describe_error(error),),
        )
    if storage.is_remote(dataset.directory):
        return Row(
            title,
            check_results.NOT_RUN,
            "the dataset is in a bucket; copy it to a local folder",
        )
    if reader.LIBRARY and util.find_spec(reader.LIBRARY) is None:
        return Row(title, check_results.NOT_INSTALLED, f"pip install {reader.LIBRARY}")
    return check_results.run(title, partial(check_reader, dataset, name))


def check_reader(dataset: DatasetFiles, name: str) -> Problems:
    """Check that a reader returns the expected names and images."""
    if len(dataset.digests) != dataset.num_images:
        raise ValueError("the images could not be read, so there is nothing to compare")
    columns = dataset.rows("key", "split", "label", "fine_label", "wnid")
    expected = {
        key: _ReaderResult(split, label, digest.hex(), fine_label, wnid, f"{key}.JPEG")
        for (key, split, label, fine_label, wnid), digest in zip(
            columns, dataset.digests, strict=True
        )
    }
    num_read = 0
    with make_bar(name, total=len(expected), unit="image", leave=False) as bar:
        lines = _read_lines(dataset, name)
        yield from _compare_names(dataset, name, next(lines))
        for key, split, labels, *others in lines:
            num_read += 1
            wanted = expected.pop(key, None)
            for label in labels:
                yield from _compare(key, wanted, _ReaderResult(split, label, *others))
            bar.update()
    for key, wanted in expected.items():
        yield f"{key} of {wanted.split} was not read"
    return f"{num_read} images: bytes, labels and names"


def _compare(
    key: str, wanted: _ReaderResult | None, given: _ReaderResult
) -> Iterator[str]:
    if wanted is None:
        yield f"{key} of {given.split} was read, but is unknown or a duplicate"
        return
    for field, value, known in zip(_ReaderResult._fields, given, wanted, strict=True):
        if value is not None and value != known:
            yield f"{key} has {field} {value!r}, the manifest {known!r}"


def _compare_names(
    dataset: DatasetFiles, name: str, names: list[str] | None
) -> Iterator[str]:
    table = dataset.table
    wanted = table.folders if readers.names_are_folders(name) else table.names
    if names is not None and names != list(wanted):
        pairs = zip([*names, None], [*wanted, None], strict=False)
        given, known = next((g, w) for g, w in pairs if g != w)
        yield f"label names differ: {given!r}, groups.csv has {known!r}"


def _read_lines(dataset: DatasetFiles, name: str) -> Iterator[Any]:
    """Yield the parsed output lines of a reader's process.

    Raises:
      ValueError: the reader failed (with its last line of errors) or timed out.
    """
    module = "transforms.verification.reading"
    directory = str(Path(dataset.directory).resolve())
    command = [sys.executable, "-m", module, name, directory, *dataset.splits]
    limit_s = _LEAST_S + dataset.num_images / _IMAGES_PER_S
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603  # nosec B603  # this package
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(scratch),
            cwd=scratch,
        ) as process,
    ):
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                yield json.loads(line)
            code = process.wait()
        finally:
            process.kill()
            timed_out = not timer.is_alive()
            timer.cancel()
        if timed_out:
            raise ValueError(f"the reader took more than {limit_s:.0f} s and was ended")
        if code:
            raise ValueError(f"the reader failed ({code}): {_last_line(errors)}")


def _environment(scratch: str) -> dict[str, str]:
    """Return an environment without network, shared caches and accelerator."""
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
