"""Compare what common readers return from a dataset with its manifest."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from transforms.dataset import paths
from transforms.records import describe_count, list_names
from transforms.storage.staging import stage_file
from transforms.verification import readers
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles, FileResults
from transforms.verification.images import check_file
from transforms.verification.results import Problems, Row
from transforms.verification.tasks import Task, name_lines

_LINES_AT_ONCE = 4096


class _Labels(NamedTuple):
    """The split, labels and names of one image."""

    split: str
    label: int
    fine_label: int
    wnid: str
    file_name: str


class _Expected(NamedTuple):
    """The values that a reader must return for one image, and the image's location."""

    number: int  # of the row in the manifest
    labels: _Labels
    shard: int
    digest: str  # "" if no intact file with the image has been read
    file: str  # with these bytes


# Readers are compared with these files.
_REFERENCES = (paths.MANIFEST, paths.GROUPS, paths.RECIPE)


def list_readers(names: Sequence[str], dataset: DatasetFiles) -> list[str]:
    """Hash the files with which readers are compared; return the usable readers."""
    try:
        checked = {
            path: check_file(dataset.directory, path)
            for path in dataset.list_present()
            if path in _REFERENCES
        }
    except check_results.UNREADABLE:
        return []
    references = FileResults(dataset, checked)
    return [name for name in names if _find_obstacle(name, references) is None]


def _find_obstacle(name: str, results: FileResults) -> Row | None:
    """Return the report row of a reader that cannot run, with the reason."""
    title, reader = f"opened with {name}", readers.load(name)
    if problem := _find_damaged_reference(results):
        return Row(title, check_results.NOT_RUN, problem)
    if reader.FORMAT not in results.dataset.formats:
        return Row(title, check_results.NOT_WRITTEN, reader.FORMAT)
    if readers.find_missing_libraries([name]):
        return Row(title, check_results.NOT_INSTALLED, f"pip install {reader.LIBRARY}")
    return None


def _find_damaged_reference(results: FileResults) -> str:
    """Return why there is nothing to compare readers with; "" if there is."""
    dataset = results.dataset
    try:
        damaged = [path for path in _REFERENCES if not results.is_intact(path)]
        if damaged:
            return f"nothing to compare with: {', '.join(damaged)} is damaged"
        if not dataset.formats or not dataset.num_shards:
            return "nothing to compare with: the images could not be read"
    except check_results.UNREADABLE as error:
        return f"nothing to compare with: {check_results.describe_error(error)}"
    return ""


def compare_all(
    names: Sequence[str], results: FileResults, tasks: Sequence[Task], work: str
) -> list[Row]:
    """Compare the output of several readers; return one report row per reader.

    Readers of undamaged formats are compared first. If the manifest's format is
    damaged, their output is the reference for the remaining readers.

    Args:
      names: names of the readers.
      results: the results of all files, after the check of the images.
      tasks: tasks that ran the readers.
      work: folder with the results of the tasks.

    Returns:
      The rows, in the order of `names`.
    """
    expected: dict[str, _Expected] = {}
    rows = {}
    for name in sorted(names, key=lambda name: _has_damage(name, results)):
        row = _find_obstacle(name, results)
        if row is None and len(results.digests) != results.dataset.num_images:
            problem = "nothing to compare with: the images could not be read"
            row = Row(f"opened with {name}", check_results.NOT_RUN, problem)
        if row is None:
            expected = expected or dict(_list_expected(results))
            outputs = [
                f"{work}/{name_lines(task, name)}"
                for task in tasks
                if name in task.readers
            ]
            check = partial(check_reader, results, name, outputs, expected)
            row = check_results.run(f"opened with {name}", check)
        rows[name] = row
    return [rows[name] for name in names]


def _has_damage(name: str, results: FileResults) -> bool:
    try:
        return bool(results.list_damaged(readers.load(name).FORMAT))
    except check_results.UNREADABLE:
        return False


def _list_expected(results: FileResults) -> Iterator[tuple[str, _Expected]]:
    """Yield each image's key and the values that readers must return for it."""
    names = ("key", "split", "label", "fine_label", "wnid", "shard", "file")
    rows = zip(results.dataset.rows(*names), results.digests, strict=True)
    for number, (row, digest) in enumerate(rows):
        key, split, label, fine_label, wnid, shard, file = row
        labels = _Labels(split, label, fine_label, wnid, f"{key}.JPEG")
        yield key, _Expected(number, labels, shard, digest, file)


def check_reader(
    results: FileResults,
    name: str,
    outputs: Sequence[str],
    expected: dict[str, _Expected],
) -> Problems:
    """Check that a reader returned the expected label names, labels and image bytes.

    Args:
      results: the results of all files.
      name: name of the reader.
      outputs: files with the output of the reader's processes.
      expected: the expected values by key; if there is no digest, that of the image
        that this reader returns is added for the next readers.

    Raises:
      ValueError: the reader failed or timed out.
    """
    format_name = readers.load(name).FORMAT
    comparison = _Comparison(results, format_name, expected)
    errors = []
    for lines in map(_read_output, outputs):
        # The last line is an object. It is the only one if the reader has failed early.
        if not isinstance(names := next(lines), dict):
            comparison.problems += _compare_names(results.dataset, name, names)
        end = names
        for end in lines:
            if not isinstance(end, dict):
                comparison.add(*end)
        errors += [end["error"]] if end["error"] else []
    for _, problem in sorted(comparison.problems):
        yield problem
    if errors:
        damaged = results.list_damaged(format_name)
        cause = f"damaged: {list_names(damaged)}; " if damaged else ""
        raise ValueError(f"{cause}{errors[0]}")
    yield from comparison.list_missing()
    return f"{sum(comparison.is_read)} images: bytes, labels and names"


def _read_output(path: str) -> Iterator[Any]:
    """Yield the parsed lines of a file that a task has written."""
    with stage_file(path) as local, Path(local).open("rb") as file:
        while lines := list(itertools.islice(file, _LINES_AT_ONCE)):
            yield from json.loads(b"[%b]" % b",".join(lines))


class _Comparison:
    """Compare the images that a reader returns with the expected ones.

    Attributes:
      problems: problems, each with the number of the image for a deterministic order.
      is_read: for each image, 1 if the reader has returned it.
    """

    def __init__(
        self,
        results: FileResults,
        format_name: str,
        expected: dict[str, _Expected],
    ) -> None:
        self.problems: list[tuple[int, str]] = []
        self.is_read = bytearray(results.dataset.num_images)
        self._results = results
        self._format_name = format_name
        self._expected = expected
        self._not_compared: Counter[str] = Counter()

    def add(
        self, key: str, split: str, labels: Sequence[int], sha256: str, *others: object
    ) -> None:
        """Compare an image that the reader returned.

        Args:
          key: key of the image.
          split: split of the image.
          labels: the labels that the reader returned.
          sha256: checksum of the image's bytes.
          *others: fine label, wnid and file name; None if the reader lacks them.
        """
        wanted = self._expected.get(key)
        if wanted is None or self.is_read[wanted.number]:
            problem = f"{key} of {split} was read, but is unknown or a duplicate"
            self.problems.append((len(self.is_read), problem))
            return
        self.is_read[wanted.number] = 1
        known = wanted.labels[2:]
        names = [k if o is None else o for o, k in zip(others, known, strict=True)]
        given = [_Labels._make((split, label, *names)) for label in labels]
        if sha256 != wanted.digest or any(image != wanted.labels for image in given):
            problems = self._find_differences(key, given, sha256, wanted)
            self.problems += [(wanted.number, problem) for problem in problems]

    def _find_differences(
        self, key: str, given: Sequence[_Labels], sha256: str, wanted: _Expected
    ) -> Iterator[str]:
        file = self._locate(key, wanted)
        is_intact = self._results.is_intact(file)
        shown = file if is_intact else f"{file} (damaged)"
        for labels in given:
            yield from _compare_labels(key, shown, labels, wanted.labels)
        if wanted.digest:
            if wanted.digest != sha256:
                yield f"{key} has other bytes in {shown} than in {wanted.file}"
        elif is_intact:
            self._expected[key] = wanted._replace(digest=sha256, file=file)
        else:
            self._not_compared[file] += 1

    def list_missing(self) -> Iterator[str]:
        """Yield messages about images that were not read or not compared, by file."""
        not_read: dict[str, list[str]] = {}
        for key, wanted in self._expected.items():
            if not self.is_read[wanted.number]:
                not_read.setdefault(self._locate(key, wanted), []).append(key)
        for file, keys in not_read.items():
            images = describe_count(len(keys), "image")
            yield f"{file}: {images} not read ({list_names(keys, 3)})"
        for file, count in self._not_compared.items():
            yield (
                f"{file} is damaged: no other copy of its {count} images to compare "
                "with"
            )

    def _locate(self, key: str, image: _Expected) -> str:
        split, label, *_ = image.labels
        return self._results.dataset.locate_image(
            self._format_name, split=split, shard=image.shard, label=label, key=key
        )


def _compare_labels(
    key: str, file: str, given: _Labels, wanted: _Labels
) -> Iterator[str]:
    for name, value, known in zip(_Labels._fields, given, wanted, strict=True):
        if value != known:
            source = "not" if name == "file_name" else "the manifest"
            yield f"{key} has {name} {value!r} in {file}, {source} {known!r}"


def _compare_names(
    dataset: DatasetFiles, name: str, names: list[str] | None
) -> Iterator[tuple[int, str]]:
    table = dataset.table
    wanted = table.folders if readers.names_are_folders(name) else table.names
    if names is not None and names != list(wanted):
        pairs = zip([*names, None], [*wanted, None], strict=False)
        given, known = next((g, w) for g, w in pairs if g != w)
        yield -1, f"label names differ: {given!r}, groups.csv has {known!r}"
