"""An npz or CSV file → the arrays of a confusion matrix, and all that is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import csv_tables, npz, storage
from transforms.arrays import FloatArray, IntArray
from transforms.csv_tables import CsvError
from transforms.labels.classes import is_wnid
from transforms.records import JSON, UsageError, list_names

MAX_CLASSES = 4_000
_MAX_BYTES = 8 * MAX_CLASSES**2 + 1_000_000  # of one array, header included
_MAX_CSV_BYTES = 200_000_000
_REMEDY = "make it again with python -m pipelines.confusion"
_NEEDED = ("matrix", "wnids", "num_images")
_SUM_ERROR = 1e-6  # of what a row of shares may differ from its number of images


class Arrays(NamedTuple):
    """What a file holds, not judged yet."""

    matrix: npt.NDArray[Any]
    wnids: tuple[str, ...]
    num_images: npt.NDArray[Any]
    models: tuple[str, ...] = ()


def read_arrays(path: str) -> Arrays:
    """Read a file by its suffix, bounded before anything is allocated.

    Raises: UsageError: it is not there, too large, or no table at all.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in {".npz", ".csv"}:
        raise UsageError(f"{path}: a confusion matrix ends in .npz or .csv; {_REMEDY}")
    try:
        if storage.num_bytes(path) > _MAX_CSV_BYTES:
            raise UsageError(f"{path}: is larger than 200 MB; {_REMEDY}")
        data = storage.read(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; {_REMEDY}") from None
    try:
        return _from_npz(data) if suffix == ".npz" else _from_csv(data)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _from_npz(data: bytes) -> Arrays:
    try:
        arrays = npz.read_npz(data, _NEEDED, optional=("models",), max_bytes=_MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"{error}; {_REMEDY}") from None
    models = arrays.get("models", np.array([], np.str_))
    return Arrays(
        arrays["matrix"],
        tuple(arrays["wnids"].ravel().astype(str).tolist()),
        arrays["num_images"],
        tuple(models.ravel().astype(str).tolist()),
    )


def _from_csv(data: bytes) -> Arrays:
    """Read a header of wnids, and a wnid and its counts a row; num_images may follow.

    Without that column a row's sum is its number of images.
    """
    rows = [row for row in csv_tables.parse_rows(csv_tables.decode(data)) if row.cells]
    header = rows[0].cells if rows else []
    body = [row.cells for row in rows[1:]]
    if len(body) > MAX_CLASSES or len(header) > MAX_CLASSES + 2:
        raise ValueError(f"has {len(body)} rows; at most {MAX_CLASSES} classes fit")
    if len(header) < 2 or not body:
        raise ValueError("holds no matrix: give a header of wnids, then a row a class")
    columns = header[1:]
    has_counts = columns[-1] == "num_images"
    if has_counts:
        columns.pop()
    wnids = [row[0] for row in body]
    for row in rows[1:]:
        if problem := csv_tables.find_length_problem(row, header):
            raise CsvError(problem, row.line)
    if problem := next(_find_csv_problems(wnids, columns), None):
        raise ValueError(problem)
    try:
        table = np.array([row[1:] for row in body], np.float64)
    except ValueError as error:
        raise ValueError(f"holds something that is no number: {error}") from None
    place = {wnid: column for column, wnid in enumerate(columns)}
    matrix = table[:, [place[wnid] for wnid in wnids]]
    num_images = table[:, -1] if has_counts else _sum_rows(matrix)
    return Arrays(matrix, tuple(wnids), num_images)


def _find_csv_problems(wnids: list[str], columns: list[str]) -> Iterator[str]:
    if len(wnids) != len(columns):
        yield (
            f"is not square: {len(wnids)} rows and {len(columns)} columns; give every "
            "class one of each"
        )
    if odd := sorted(set(wnids) ^ set(columns)):
        yield f"rows and columns differ: {list_names(odd)} is in one only"


def _sum_rows(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sums = matrix.sum(axis=1)
    whole = np.rint(sums)
    return np.where(
        np.abs(sums - whole) <= _SUM_ERROR * np.maximum(1, whole), whole, sums
    )


def find_problems(arrays: Arrays) -> Iterator[str]:
    """Yield all that is wrong with a matrix, each with the remedy."""
    matrix, wnids, num_images = arrays[:3]
    size = len(wnids)
    if matrix.shape != (size, size) or num_images.shape != (size,):
        yield (
            f"matrix is {_show(matrix.shape)} and num_images {_show(num_images.shape)} "
            f"for {size} wnids; the matrix must be square, a row and a column a class"
        )
        return
    if not 2 <= size <= MAX_CLASSES:
        yield f"has {size} classes; 2 to {MAX_CLASSES} make a matrix"
        return
    if strange := [repr(w[:20]) for w in wnids if not is_wnid(w)]:
        yield f"{list_names(strange)}: no wnid (n and 8 digits)"
    if len(set(wnids)) < size:
        twice = sorted({w for w in wnids if wnids.count(w) > 1})
        yield f"{list_names(twice)} stands there more than once; keep one"
    if any(a.dtype.kind not in "iuf" for a in (matrix, num_images)):
        yield f"holds texts where numbers belong; {_REMEDY}"
        return
    counts = np.asarray(num_images, np.float64)
    where = wnids[int(np.argmin(np.isfinite(matrix).all(axis=1)))]
    if not np.isfinite(matrix).all() or not np.isfinite(counts).all():
        yield f"row {where} holds NaN or infinity; {_REMEDY}"
    elif (matrix < 0).any():
        where = wnids[int(np.argmax((matrix < 0).any(axis=1)))]
        yield f"row {where} holds a negative number; counts start at 0"
    elif (
        (counts != np.rint(counts)).any()
        or (counts < 0).any()
        or (counts > 2**53).any()
    ):
        odd = int(np.argmax((counts != np.rint(counts)) | (counts < 0)))
        yield (
            f"row {wnids[odd]} stands for {counts[odd]:g} images; num_images must be "
            "whole numbers from 0 (in a CSV: its last column, else its rows' sums)"
        )
    elif (over := matrix.sum(axis=1) > counts * (1 + _SUM_ERROR) + _SUM_ERROR).any():
        row = int(np.argmax(over))
        yield (
            f"row {wnids[row]} sums to {matrix[row].sum():g}, but num_images says "
            f"{counts[row]:g}; {_REMEDY}"
        )


def _show(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often images of one class are taken for another.

    Args:
      matrix: shape (classes, classes), rows true, columns predicted: numbers of images,
        or sums of the shares that predictions give to each class.
      wnids: the classes, in the order of rows and columns.
      num_images: images of each class, at least the sum of its row.
      models: whose predictions these are, where known.
    """

    matrix: FloatArray
    wnids: tuple[str, ...]
    num_images: IntArray
    models: tuple[str, ...] = ()

    @property
    def num_errors(self) -> float:
        """The sum of all that is not on the diagonal."""
        return float(self.matrix.sum() - np.trace(self.matrix))

    def select(self, wnids: Sequence[str], *, source: str) -> "Confusion":
        """Keep these classes, in this order.

        Images predicted as a class that goes are no longer counted: where any go, the
        number of images becomes the sum of the row, so that rates sum to 1 again.

        Args:
          wnids: the classes to keep.
          source: the file's name, for messages.
        Raises: UsageError: the matrix lacks some of them.
        """
        place = {wnid: number for number, wnid in enumerate(self.wnids)}
        if missing := [wnid for wnid in wnids if wnid not in place]:
            raise UsageError(
                f"{source}: has no row for {len(missing)} of the {len(wnids)} classes "
                f"of the input ({list_names(missing)}); make it from "
                "predictions of images of all"
            )
        kept = [place[wnid] for wnid in wnids]
        matrix = self.matrix[np.ix_(kept, kept)]
        num_images = self.num_images[kept]
        if len(kept) < len(self.wnids):
            num_images = np.ceil(matrix.sum(axis=1)).astype(np.int64)
        return Confusion(matrix, tuple(wnids), num_images, self.models)


@dataclass(frozen=True)
class Captured:
    """How much of the confusion lies inside groups."""

    share: float  # of all errors, those that coarse labels forgive
    rates: tuple[float, ...]  # by label: sum of P over the group's pairs of classes
    shares: tuple[float, ...]  # by label: of the errors on its classes
    sizes: tuple[int, ...]  # by label, in classes

    @property
    def num_empty(self) -> int:
        """How many groups capture nothing."""
        return sum(rate == 0 for rate in self.rates)

    def to_json(self) -> dict[str, JSON]:
        """Return the figures as they are recorded, rounded."""
        return {
            "captured_share": round(self.share, 6),
            "group_share": {
                "min": round(min(self.shares), 6),
                "median": round(float(np.median(self.shares)), 6),
                "max": round(max(self.shares), 6),
            },
            "group_rates": [round(rate, 6) for rate in self.rates],
            "group_sizes": list(self.sizes),
            "groups_that_capture_nothing": self.num_empty,
        }


def read_confusion_rates(path: str) -> Confusion:
    """Read a confusion matrix, npz or CSV.

    Raises: UsageError: no such file, or all that is wrong with it.
    """
    arrays = read_arrays(path)
    if problems := list(find_problems(arrays)):
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return Confusion(
        arrays.matrix.astype(np.float64),
        arrays.wnids,
        arrays.num_images.astype(np.int64),
        arrays.models,
    )


def to_npz(confusion: Confusion) -> bytes:
    """Write a confusion matrix: matrix, wnids, num_images, models; always the same."""
    matrix = confusion.matrix
    is_whole = bool((matrix == np.rint(matrix)).all())
    arrays = {
        "matrix": matrix.astype("<i4") if is_whole else matrix.astype("<f8"),
        "wnids": np.array(confusion.wnids, "<U9"),
        "num_images": confusion.num_images.astype("<i8"),
    }
    if confusion.models:
        arrays["models"] = np.array(confusion.models, np.str_)
    return npz.to_npz_bytes(arrays)


def find_rates(confusion: Confusion) -> FloatArray:
    """Find how often two classes are taken for each other.

    Returns: P, symmetric with a zero diagonal: P(a,b) = ½ (C[a,b]/n_a + C[b,a]/n_b).
      A class without images has no rate of its own.
    """
    num_images = np.maximum(confusion.num_images, 1).astype(np.float64)
    by_row = confusion.matrix / num_images[:, None]
    rates: FloatArray = (by_row + by_row.T) / 2
    np.fill_diagonal(rates, 0)
    return rates


def read_confusion(path: str, wnids: Sequence[str]) -> FloatArray:
    """Read how often any two of these classes are taken for each other.

    Returns: Shape (wnids, wnids), as `find_rates` gives it.
    Raises: UsageError: what `read` and `Confusion.select` find.
    """
    return find_rates(read_confusion_rates(path).select(wnids, source=path))


def capture(confusion: Confusion, labels: Sequence[int]) -> Captured:
    """Find the share of the errors that stay inside groups.

    Args:
      confusion: of the classes that are grouped.
      labels: the group of each class, 0…N-1; -1 for left out, which counts nowhere.
    """
    groups = np.asarray(labels, np.int64)
    kept = np.flatnonzero(groups >= 0)
    groups = groups[kept]
    errors = confusion.matrix[np.ix_(kept, kept)].copy()
    np.fill_diagonal(errors, 0)
    is_inside = groups[:, None] == groups
    num_groups = int(groups.max()) + 1
    inside = np.bincount(groups, (errors * is_inside).sum(axis=1), num_groups)
    made = np.bincount(groups, errors.sum(axis=1), num_groups)
    pairs = np.triu(find_rates(confusion)[np.ix_(kept, kept)] * is_inside)
    shares = np.divide(inside, made, out=np.zeros(num_groups), where=made > 0)
    return Captured(
        share=float(inside.sum() / made.sum()) if made.any() else 0.0,
        rates=tuple(np.bincount(groups, pairs.sum(axis=1), num_groups).tolist()),
        shares=tuple(shares.tolist()),
        sizes=tuple(np.bincount(groups, minlength=num_groups).tolist()),
    )
