"""Read a dataset with common readers and compare their output with the manifest.

Each reader runs in its own process.
"""

import json
import os
import subprocess  # nosec B404  # runs this package, without a shell
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from importlib import util
from pathlib import Path
from typing import IO, Any, NamedTuple

import transforms
from transforms import storage
from transforms.dataset import paths
from transforms.progress import make_bar
from transforms.records import list_names
from transforms.verification import readers
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems, Row

# Time limit of a reader: the minimum, plus time for the images.
_LEAST_S, _IMAGES_PER_S = 300, 50


class _Labels(NamedTuple):
    """The split, labels and names that a reader returns for one image.

    Fields that a reader does not provide are None.
    """

    split: str
    label: int
    fine_label: int | None
    wnid: str | None
    file_name: str | None


class _Expected(NamedTuple):
    """The values that a reader must return for one image, and the image's location."""

    labels: _Labels
    shard: int
    digest: bytes  # b"" if `file` is not intact
    file: str  # in the manifest's format


# Readers are compared with these files.
_REFERENCES = (paths.MANIFEST, paths.GROUPS, paths.RECIPE)


def open_all(names: Sequence[str], dataset: DatasetFiles) -> list[Row]:
    """Read the dataset with several readers and return one report row per reader.

    Readers of undamaged formats run first. If the manifest's format is damaged, their
    output is the reference for the remaining readers.

    Args:
      names: names of the readers.
      dataset: the dataset.

    Returns:
      The rows, in the order of `names`.
    """
    rows = {
        name: open_with(name, dataset)
        for name in sorted(names, key=lambda name: _has_damage(name, dataset))
    }
    return [rows[name] for name in names]


def _has_damage(name: str, dataset: DatasetFiles) -> bool:
    try:
        return bool(dataset.list_damaged(readers.load(name).FORMAT))
    except check_results.UNREADABLE:
        return False


def open_with(name: str, dataset: DatasetFiles) -> Row:
    """Read the dataset with one reader and return its report row.

    The row gives the reason if the reader cannot run, e.g. if it is not installed or
    the dataset does not have its format.
    """
    title, reader = f"opened with {name}", readers.load(name)
    if problem := _find_missing_reference(dataset):
        return Row(title, check_results.NOT_RUN, problem)
    if reader.FORMAT not in dataset.formats:
        return Row(title, check_results.NOT_WRITTEN, reader.FORMAT)
    if storage.is_remote(dataset.directory):
        return Row(
            title,
            check_results.NOT_RUN,
            "the dataset is in a bucket; copy it to a local folder",
        )
    if reader.LIBRARY and util.find_spec(reader.LIBRARY) is None:
        return Row(title, check_results.NOT_INSTALLED, f"pip install {reader.LIBRARY}")
    return check_results.run(title, partial(check_reader, dataset, name))


def _find_missing_reference(dataset: DatasetFiles) -> str:
    """Return why there is no reference to compare readers with; "" if there is one."""
    try:
        damaged = [path for path in _REFERENCES if not dataset.is_intact(path)]
        if damaged:
            return f"nothing to compare with: {', '.join(damaged)} is damaged"
        if len(dataset.digests) != dataset.num_images or not dataset.formats:
            return "nothing to compare with: the images could not be read"
    except check_results.UNREADABLE as error:
        return f"nothing to compare with: {check_results.describe_error(error)}"
    return ""


def check_reader(dataset: DatasetFiles, name: str) -> Problems:
    """Check that a reader returns the expected label names, labels and image bytes.

    Raises:
      ValueError: the reader failed or timed out.
    """
    format_name = readers.load(name).FORMAT
    try:
        num_read = yield from _compare_images(dataset, name, format_name)
    except ValueError as error:
        if damaged := dataset.list_damaged(format_name):
            raise ValueError(f"{error}; damaged: {list_names(damaged)}") from error
        raise
    return f"{num_read} images: bytes, labels and names"


def _compare_images(
    dataset: DatasetFiles, name: str, format_name: str
) -> Generator[str, None, int]:
    """Compare a reader's output with the expected names and images.

    Yields:
      One message per problem.

    Returns:
      The number of images that the reader returned.
    """
    expected = dict(_list_expected(dataset))
    num_read = 0
    not_compared: Counter[str] = Counter()
    with make_bar(name, total=len(expected), unit="image", leave=False) as bar:
        lines = _read_lines(dataset, name)
        yield from _compare_names(dataset, name, next(lines))
        for key, split, labels, sha256, *others in lines:
            num_read += 1
            bar.update()
            if (wanted := expected.pop(key, None)) is None:
                yield f"{key} of {split} was read, but is unknown or a duplicate"
                continue
            file = _locate(dataset, format_name, key, wanted)
            shown = file if dataset.is_intact(file) else f"{file} (damaged)"
            for label in labels:
                given = _Labels(split, label, *others)
                yield from _compare_labels(key, shown, given, wanted.labels)
            reference = dataset.copies.get(key)
            if wanted.digest:
                reference = wanted.digest.hex(), wanted.file
            if reference is None and dataset.is_intact(file):
                dataset.copies[key] = sha256, file
            elif reference is None:
                not_compared[file] += 1
            elif reference[0] != sha256:
                yield f"{key} has other bytes in {shown} than in {reference[1]}"
    not_read: dict[str, list[str]] = {}
    for key, wanted in expected.items():
        file = _locate(dataset, format_name, key, wanted)
        not_read.setdefault(file, []).append(key)
    for file, keys in not_read.items():
        yield f"{file}: {len(keys)} images were not read ({list_names(keys, 3)})"
    for file, count in not_compared.items():
        yield f"{file} is damaged: no other copy of its {count} images to compare with"
    return num_read


def _list_expected(dataset: DatasetFiles) -> Iterator[tuple[str, _Expected]]:
    """Yield each image's key and the values that readers must return for it."""
    names = ("key", "split", "label", "fine_label", "wnid", "shard", "file")
    for (key, split, label, fine_label, wnid, shard, file), digest in zip(
        dataset.rows(*names), dataset.digests, strict=True
    ):
        labels = _Labels(split, label, fine_label, wnid, f"{key}.JPEG")
        yield key, _Expected(labels, shard, digest, file)


def _locate(dataset: DatasetFiles, format_name: str, key: str, image: _Expected) -> str:
    split, label, *_ = image.labels
    return dataset.locate_image(
        format_name, split=split, shard=image.shard, label=label, key=key
    )


def _compare_labels(
    key: str, file: str, given: _Labels, wanted: _Labels
) -> Iterator[str]:
    for name, value, known in zip(_Labels._fields, given, wanted, strict=True):
        if value is not None and value != known:
            source = "not" if name == "file_name" else "the manifest"
            yield f"{key} has {name} {value!r} in {file}, {source} {known!r}"


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
    """Run a reader in its own process and yield its output lines, parsed from JSON.

    Raises:
      ValueError: the reader failed or timed out.
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
