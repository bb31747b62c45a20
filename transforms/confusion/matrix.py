"""Read, validate and write confusion matrices; measure confusion within groups."""

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
from transforms.predictions.chance import find_problem
from transforms.records import JSON, UsageError, list_names

MAX_CLASSES = 4_000
_MAX_BYTES = 8 * MAX_CLASSES**2 + 1_000_000  # of one array, header included
_MAX_CSV_BYTES = 200_000_000
_REMEDY = "make it again with python -m pipelines.confusion"
_REQUIRED = ("matrix", "wnids", "num_images")
_SUM_TOLERANCE = 1e-6  # relative, between a row's sum and its number of images


class Arrays(NamedTuple):
    """The arrays of a matrix file, before their shapes and values are validated."""

    matrix: npt.NDArray[Any]
    wnids: tuple[str, ...]
    num_images: npt.NDArray[Any]
    models: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix.

    Attributes:
      matrix: shape (classes, classes), rows true, columns predicted: numbers of images,
        or sums of predicted probabilities.
      wnids: class of each row and column.
      num_images: shape (classes,), number of images of each true class; never less than
        the sum of its row.
      models: names of the models; empty if unknown.
    """

    matrix: FloatArray
    wnids: tuple[str, ...]
    num_images: IntArray
    models: tuple[str, ...] = ()

    @property
    def num_errors(self) -> float:
        """The number of errors, i.e. the sum of the off-diagonal cells."""
        return float(self.matrix.sum() - np.trace(self.matrix))

    @property
    def error_rate(self) -> float:
        """The share of errors among the predictions of classes of the matrix."""
        return self.num_errors / float(self.matrix.sum() or 1)

    @property
    def described_models(self) -> str:
        """The names of the models, or a placeholder if unknown, for messages."""
        return list_names(self.models) or "the model it was made with"

    def select(self, wnids: Sequence[str], *, source: str) -> "Confusion":
        """Return the matrix of some classes, in the given order.

        Images that are predicted as a class outside the selection are dropped: each
        row's number of images becomes its new sum, rounded up.

        Args:
          wnids: the classes to select.
          source: path of the matrix file, for messages.

        Raises:
          UsageError: the matrix lacks some of the classes.
        """
        row_of = {wnid: row for row, wnid in enumerate(self.wnids)}
        if missing := [wnid for wnid in wnids if wnid not in row_of]:
            raise UsageError(
                f"{source}: has no row for {len(missing)} of the {len(wnids)} classes "
                f"of the input ({list_names(missing)}); make it from "
                "predictions for images of all classes"
            )
        rows = [row_of[wnid] for wnid in wnids]
        matrix = self.matrix[np.ix_(rows, rows)]
        num_images = self.num_images[rows]
        if len(rows) < len(self.wnids):
            num_images = np.ceil(matrix.sum(axis=1)).astype(np.int64)
        return Confusion(matrix, tuple(wnids), num_images, self.models)


@dataclass(frozen=True)
class Captured:
    """The confusion between classes of the same group.

    Errors whose true or predicted class is in no group are not counted.

    Attributes:
      share: share of all errors that are within groups, 0 to 1.
      rates: for each group, the sum of the confusion rates of its pairs of classes.
      shares: for each group, the share of the errors on its images whose predicted
        class is in the same group, 0 to 1.
      sizes: for each group, the number of classes.
    """

    share: float
    rates: tuple[float, ...]
    shares: tuple[float, ...]
    sizes: tuple[int, ...]

    @property
    def chance(self) -> float:
        """The share of evenly spread errors that groups of these sizes capture."""
        total = sum(self.sizes)
        return sum(size * (size - 1) for size in self.sizes) / max(
            total * (total - 1), 1
        )

    @property
    def num_empty(self) -> int:
        """The number of groups whose classes are never confused with each other."""
        return sum(rate == 0 for rate in self.rates)

    def to_json(self) -> dict[str, JSON]:
        """Convert to JSON for reports; values are rounded to 6 decimal places."""
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


def read_confusion(path: str) -> Confusion:
    """Read a confusion matrix from an .npz or .csv file.

    Raises:
      UsageError: the file is missing or invalid; one line per problem.
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
    """Serialise a confusion matrix to .npz; equal matrices give identical bytes."""
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
    """Compute the rate at which each pair of classes is confused.

    Returns:
      P, shape (classes, classes), symmetric with a zero diagonal:
      P[a,b] = ½ (C[a,b]/n_a + C[b,a]/n_b), where C is the matrix and n_a the number of
      images of class a. The term of a class without images is 0.
    """
    num_images = np.maximum(confusion.num_images, 1).astype(np.float64)
    by_row = confusion.matrix / num_images[:, None]
    rates: FloatArray = (by_row + by_row.T) / 2
    np.fill_diagonal(rates, 0)
    return rates


def find_order_problem(confusion: Confusion) -> Iterator[str]:
    """Yield a warning for models at chance or with their classes in the wrong order.

    Chance is the accuracy of random predictions with the same class frequencies.
    """
    total = int(confusion.num_images.sum())
    predicted = confusion.matrix.sum(axis=0)
    if not total or not predicted.any():
        return
    by_row = confusion.num_images / total
    chance = float(by_row @ (predicted / predicted.sum()))
    if problem := find_problem(confusion.matrix, total, chance):
        yield f"warning: {confusion.described_models} {problem}"


def capture(confusion: Confusion, labels: Sequence[int]) -> Captured:
    """Measure the confusion between classes of the same group.

    Args:
      confusion: confusion matrix of the classes.
      labels: group of each class of the matrix, 0 to N − 1; classes with label −1 are
        ignored. At least one class is in a group.
    """
    groups = np.asarray(labels, np.int64)
    kept = np.flatnonzero(groups >= 0)
    groups = groups[kept]
    errors = confusion.matrix[np.ix_(kept, kept)].copy()
    np.fill_diagonal(errors, 0)
    is_inside = groups[:, None] == groups
    num_groups = int(groups.max()) + 1
    inside = np.bincount(groups, (errors * is_inside).sum(axis=1), num_groups)
    total = np.bincount(groups, errors.sum(axis=1), num_groups)
    pairs = np.triu(find_rates(confusion)[np.ix_(kept, kept)] * is_inside)
    shares = np.divide(inside, total, out=np.zeros(num_groups), where=total > 0)
    return Captured(
        share=float(inside.sum() / total.sum()) if total.any() else 0.0,
        rates=tuple(np.bincount(groups, pairs.sum(axis=1), num_groups).tolist()),
        shares=tuple(shares.tolist()),
        sizes=tuple(np.bincount(groups, minlength=num_groups).tolist()),
    )


def read_arrays(path: str) -> Arrays:
    """Read a matrix file without validating its values; reject oversized files.

    Raises:
      UsageError: the file is missing, too large or not a matrix.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in {".npz", ".csv"}:
        raise UsageError(f"{path}: is not a .npz or .csv file; {_REMEDY}")
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


def find_problems(arrays: Arrays) -> Iterator[str]:
    """Yield a message, with the remedy, for each problem of a matrix file's arrays."""
    matrix, wnids, num_images = arrays[:3]
    size = len(wnids)
    if matrix.shape != (size, size) or num_images.shape != (size,):
        yield (
            f"matrix is {_format_shape(matrix.shape)} and num_images "
            f"{_format_shape(num_images.shape)} for {size} wnids; give each class one "
            "row and one column"
        )
        return
    if not 2 <= size <= MAX_CLASSES:
        yield f"has {size} classes; 2 to {MAX_CLASSES} are allowed"
        return
    if invalid := [repr(w[:20]) for w in wnids if not is_wnid(w)]:
        yield f"{list_names(invalid)}: not a wnid (n and 8 digits)"
    if len(set(wnids)) < size:
        repeated = sorted({w for w in wnids if wnids.count(w) > 1})
        yield f"{list_names(repeated)}: is repeated; keep one row and column"
    if any(a.dtype.kind not in "iuf" for a in (matrix, num_images)):
        yield f"has text instead of numbers; {_REMEDY}"
        return
    counts = np.asarray(num_images, np.float64)
    wnid = wnids[int(np.argmin(np.isfinite(matrix).all(axis=1)))]
    if not np.isfinite(matrix).all() or not np.isfinite(counts).all():
        yield f"row {wnid} has NaN or infinity; {_REMEDY}"
    elif (matrix < 0).any():
        wnid = wnids[int(np.argmax((matrix < 0).any(axis=1)))]
        yield f"row {wnid} has a negative number; counts must be 0 or more"
    elif (
        (counts != np.rint(counts)).any()
        or (counts < 0).any()
        or (counts > 2**53).any()
    ):
        row = int(np.argmax((counts != np.rint(counts)) | (counts < 0)))
        yield (
            f"row {wnids[row]} has {counts[row]:g} images; num_images must be integers "
            "of 0 or more (in CSV files: the last column or the sums of the rows)"
        )
    elif (
        over := matrix.sum(axis=1) > counts * (1 + _SUM_TOLERANCE) + _SUM_TOLERANCE
    ).any():
        row = int(np.argmax(over))
        yield (
            f"row {wnids[row]} sums to {matrix[row].sum():g}, but its num_images is "
            f"{counts[row]:g}; {_REMEDY}"
        )


def _from_npz(data: bytes) -> Arrays:
    try:
        arrays = npz.read_npz(
            data, _REQUIRED, optional=("models",), max_bytes=_MAX_BYTES
        )
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
    """Parse a CSV matrix: a header of wnids, then one row per class, wnid first.

    The last column may be num_images; without it, num_images are the sums of the rows.

    Raises:
      ValueError: the data are not a matrix in this format.
    """
    rows = [row for row in csv_tables.parse_rows(csv_tables.decode(data)) if row.cells]
    header = rows[0].cells if rows else []
    body = [row.cells for row in rows[1:]]
    if len(body) > MAX_CLASSES or len(header) > MAX_CLASSES + 2:
        raise ValueError(
            f"has {len(body)} rows; at most {MAX_CLASSES} classes are allowed"
        )
    if len(header) < 2 or not body:
        raise ValueError("has no matrix; give a header of wnids, then a row per class")
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
        raise ValueError(f"has a cell that is not a number: {error}") from None
    column_of = {wnid: column for column, wnid in enumerate(columns)}
    matrix = table[:, [column_of[wnid] for wnid in wnids]]
    num_images = table[:, -1] if has_counts else _sum_rows(matrix)
    return Arrays(matrix, tuple(wnids), num_images)


def _find_csv_problems(wnids: list[str], columns: list[str]) -> Iterator[str]:
    if len(wnids) != len(columns):
        yield (
            f"is not square: {len(wnids)} rows and {len(columns)} columns; give each "
            "class one row and one column"
        )
    if differing := sorted(set(wnids) ^ set(columns)):
        yield (
            f"rows and columns differ: {list_names(differing)}; give each class one "
            "row and one column"
        )


def _sum_rows(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sums = matrix.sum(axis=1)
    rounded = np.rint(sums)
    return np.where(
        np.abs(sums - rounded) <= _SUM_TOLERANCE * np.maximum(1, rounded), rounded, sums
    )


def _format_shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"
