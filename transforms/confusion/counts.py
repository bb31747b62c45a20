"""Validate prediction files, then count their confusion matrix with exact integers.

Every image contributes `UNITS` = 31 · 2²⁴ units, which its prediction distributes over
the predicted classes; units of outputs outside the matrix are dropped. Rank weights
(multiples of 1/31) and float16 probabilities (multiples of 2⁻²⁴) are both whole numbers
of units. Sums are therefore exact and do not depend on the order of the parts or the
number of workers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import seeds, storage
from transforms.arrays import BoolArray, IntArray
from transforms.confusion.matrix import MAX_CLASSES, Confusion
from transforms.labels.classes import is_wnid, load_classes
from transforms.predictions import reading as prediction_files
from transforms.predictions.reading import Batch, Float16Array, read_predictions
from transforms.records import UsageError, list_names

_FLOAT16_UNITS = 1 << 24  # float16 values in [0, 1] are multiples of 2⁻²⁴
UNITS = 31 * _FLOAT16_UNITS  # per image
_HARD_WEIGHTS = (UNITS,)
_SOFT_WEIGHTS = tuple(weight * _FLOAT16_UNITS for weight in (16, 8, 4, 2, 1))
_MAX_GROUPS = 32  # of parts
OUTSIDE = -1  # column of outputs that are not among the classes
_REPEATED = ("wnid", "model", "model_id")  # columns with few distinct values


class PredictionPart(NamedTuple):
    """The unit of work: a row group of a Parquet file, or a whole .npz file."""

    path: str
    row_group: int  # 0 for .npz files

    def __str__(self) -> str:
        """Describe the part in messages."""
        return f"row group {self.row_group} of {self.path}"


class Cutoff(NamedTuple):
    """The last image of half A of a class; images are sorted by (hash, key)."""

    place: int  # the hash
    key: str


@dataclass(frozen=True, kw_only=True)
class PredictionSurvey:
    """Summary of all prediction files, computed before counting."""

    pieces: tuple[PredictionPart, ...]
    models: tuple[str, ...]  # names, in file order
    wnids: tuple[str, ...]  # of all images, sorted
    cutoffs: tuple[Cutoff, ...]  # the last image of each class's first half
    num_images: int  # counted once per prediction
    num_seen: int  # predictions of images in the training set of their model
    by_probabilities: tuple[str, ...]  # files with probabilities
    by_rank: tuple[str, ...]  # files without
    has_other_outputs: bool  # whether a model has outputs that are not in `wnids`

    @property
    def scope(self) -> str:
        """The classes that predictions are limited to, for messages; "" if to none."""
        if not self.has_other_outputs:
            return ""
        return f"among the {len(self.wnids)} classes of the images"


@dataclass(frozen=True)
class CountPlan:
    """Settings of a count: the classes, the two halves and the weighting."""

    wnids: tuple[str, ...]  # classes of the rows and columns
    cutoffs: tuple[Cutoff, ...]  # one per class
    seed: int  # seed of the halves
    is_soft: bool  # count probabilities or ranks instead of the likeliest class
    models: tuple[str, ...] = ()  # models whose accuracy is counted

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """The index of each class in rows and columns, by wnid."""
        return {wnid: row for row, wnid in enumerate(self.wnids)}

    def halve(self, keys: Sequence[str], true: IntArray) -> IntArray:
        """Assign each image to half 0 (A) or 1 (B), shape (images,).

        Images of a class up to and including its cutoff belong to A. The halves equal
        the folds that `build --folds=2` creates from the same images and seed.

        Args:
          keys: keys of the images.
          true: shape (images,), matrix rows of their true classes.
        """
        hashes = seeds.orders(self.seed, "fold", keys)
        last = np.array([cutoff.place for cutoff in self.cutoffs])[true]
        half = (hashes > last).astype(np.int64)
        for row in np.flatnonzero(hashes == last).tolist():
            half[row] = keys[row] > self.cutoffs[true[row]].key
        return half


@dataclass(eq=False)
class ConfusionCounts:
    """Confusion counts, kept separately for the halves A and B of the images.

    Attributes:
      cells: shape (2, classes, classes), indexed by half, true class and predicted
        class; `UNITS` per image.
      num_images: shape (2, classes), indexed by half and true class.
      accuracy: shape (models, 2): number of images, and number of images whose
        likeliest class is correct.
      num_undecided: number of images in no cell, because none of the classes was
        predicted.
      parts: parts that were counted.
    """

    cells: IntArray
    num_images: IntArray
    accuracy: IntArray
    num_undecided: int = 0
    parts: tuple[PredictionPart, ...] = ()

    @classmethod
    def empty(cls, size: int, num_models: int = 0) -> "ConfusionCounts":
        """Return counts of zero for `size` classes and some models."""
        return cls(
            np.zeros((2, size, size), np.int64),
            np.zeros((2, size), np.int64),
            np.zeros((num_models, 2), np.int64),
        )

    def add(self, other: "ConfusionCounts") -> None:
        """Add other counts to these in place."""
        self.cells += other.cells
        self.num_images += other.num_images
        self.accuracy += other.accuracy
        self.num_undecided += other.num_undecided
        self.parts += other.parts

    def to_confusions(self, plan: CountPlan, models: Sequence[str]) -> list[Confusion]:
        """Return three matrices: of all images, of half A and of half B.

        Args:
          plan: settings of the count.
          models: names of the models, to be stored in the matrices.
        """
        return [
            Confusion(cells / UNITS, plan.wnids, num_images, tuple(models))
            for cells, num_images in (
                (self.cells.sum(axis=0), self.num_images.sum(axis=0)),
                *zip(self.cells, self.num_images, strict=True),
            )
        ]


class _File(NamedTuple):
    """A prediction file: key, wnid, model and seen flag of each row."""

    path: str
    rows: pa.Table
    num_parts: int
    has_probabilities: bool
    outputs: frozenset[str]  # wnids of the outputs of all models


class _Codes(NamedTuple):
    """A dictionary-encoded column.

    Attributes:
      values: distinct values of the column, sorted.
      codes: shape (rows,), index of each row's value in `values`.
    """

    values: list[str]
    codes: IntArray


def survey(paths: Sequence[str], *, seed: int) -> PredictionSurvey:
    """Validate prediction files and find their images, classes and models.

    Args:
      paths: `.npz` and `.parquet` files as in `read_predictions`. Unlike there, models
        may share a name, e.g. the two models of a cross-fit.
      seed: random seed of the halves. Half A has the first ⌈n/2⌉ of the n distinct
        images of each class, in the order of their hashes.

    Raises:
      UsageError: a file is invalid, a model has several predictions for an image, rows
        of an image have different classes, or there are too few or too many classes;
        one line per problem.
    """
    files, problems = list[_File](), list[str]()
    for path in paths:
        try:
            files.append(_read_file(path))
        except UsageError as error:
            problems += [
                f"--predictions {line.removeprefix('--predictions ')}"
                for line in str(error).splitlines()
            ]
    if problems:
        raise UsageError("\n".join(problems))
    rows = pa.concat_tables([file.rows for file in files])
    images, classes = _encode(rows["key"]), _encode(rows["wnid"])
    names, ids = _encode(rows["model"]), _encode(rows["model_id"])
    lengths = [file.rows.num_rows for file in files]
    path_of = np.repeat(np.array([file.path for file in files], object), lengths)
    same_model = names.codes * len(ids.values) + ids.codes
    problems += _find_repeats(images, same_model, rows["model"], path_of)
    class_of = np.empty(len(images.values), np.int64)
    class_of[images.codes[::-1]] = classes.codes[::-1]  # of the first row of an image
    problems += _find_class_conflict(images, classes, class_of, path_of)
    problems += _find_class_problems(classes.values)
    if problems:
        raise UsageError("\n".join(f"--predictions {problem}" for problem in problems))
    return PredictionSurvey(
        pieces=tuple(
            PredictionPart(storage.absolute(file.path), number)
            for file in files
            for number in range(file.num_parts)
        ),
        models=tuple(rows["model"].unique().to_pylist()),
        wnids=tuple(classes.values),
        cutoffs=find_cutoffs(images.values, class_of, seed=seed),
        num_images=rows.num_rows,
        num_seen=pc.sum(rows["seen"], min_count=0).as_py(),
        by_probabilities=tuple(f.path for f in files if f.has_probabilities),
        by_rank=tuple(f.path for f in files if not f.has_probabilities),
        has_other_outputs=any(f.outputs - set(classes.values) for f in files),
    )


def find_cutoffs(
    keys: Sequence[str], class_of: IntArray, *, seed: int
) -> tuple[Cutoff, ...]:
    """Find the last image of half A of each class; equal hashes are ordered by key.

    Args:
      keys: keys of the images, sorted.
      class_of: shape (images,), their classes, 0 to C − 1; every class has an image.
      seed: random seed of the halves.

    Returns:
      The cutoff of each class.
    """
    hashes = seeds.orders(seed, "fold", keys)
    order = np.lexsort((hashes, class_of))
    counts = np.bincount(class_of)
    last = np.cumsum(counts) - counts + (counts + 1) // 2 - 1
    return tuple(Cutoff(int(hashes[n]), keys[n]) for n in order[last].tolist())


def divide(parts: Sequence[PredictionPart]) -> list[tuple[PredictionPart, ...]]:
    """Divide parts into few groups, since counts take 16 MB for 1000 classes."""
    num_groups = min(len(parts), _MAX_GROUPS)
    return [tuple(parts[number::num_groups]) for number in range(num_groups)]


def count(parts: Sequence[PredictionPart], plan: CountPlan) -> ConfusionCounts:
    """Count the predictions in parts of files.

    Raises:
      UsageError: a part has invalid values.
    """
    counts = ConfusionCounts.empty(len(plan.wnids), len(plan.models))
    for part in parts:
        for batch in _read_batches(part, plan):
            add_batch(batch, plan, counts)
    counts.parts = tuple(parts)
    return counts


def _read_batches(part: PredictionPart, plan: CountPlan) -> Iterator[Batch]:
    if PurePosixPath(part.path).suffix == prediction_files.SUFFIX:
        described = prediction_files.describe(part.path)
        outputs = {
            w for m in described.models for w in prediction_files.find_outputs(m)
        }
        yield from prediction_files.read_batches(
            described,
            [part.row_group],
            with_probabilities=plan.is_soft or not outputs <= plan.place_of.keys(),
        )
        return
    (predictions,) = read_predictions([part.path])
    wnids = [info.wnid for info in load_classes()]
    yield Batch(
        model=predictions.model,
        outputs=tuple(wnids),
        keys=list(predictions.keys),
        wnids=[wnids[index] for index in predictions.truth.tolist()],
        top5=predictions.top5.astype(np.int64),
    )


def add_batch(batch: Batch, plan: CountPlan, counts: ConfusionCounts) -> None:
    """Add the predictions of a batch to `counts`, which is changed in place."""
    place_of = plan.place_of
    true = np.array([place_of[wnid] for wnid in batch.wnids], np.int64)
    column_of = np.array([place_of.get(w, OUTSIDE) for w in batch.outputs], np.int64)
    row = plan.halve(batch.keys, true) * len(plan.wnids) + true
    np.add.at(counts.num_images.reshape(-1), row, 1)
    cells = counts.cells.reshape(-1, len(plan.wnids))
    likeliest = choose_likeliest(batch, column_of)
    if batch.model in plan.models:
        num_correct = np.count_nonzero(likeliest == true)
        counts.accuracy[plan.models.index(batch.model)] += (len(true), num_correct)
    if plan.is_soft and batch.probabilities is not None:
        is_decided = _add_probabilities(batch.probabilities, row, column_of, cells)
    elif plan.is_soft:
        columns = column_of[batch.top5]
        is_decided = _add_ranks(columns, row, _SOFT_WEIGHTS, cells)
    else:
        is_decided = _add_ranks(likeliest[:, None], row, _HARD_WEIGHTS, cells)
    counts.num_undecided += int(np.count_nonzero(~is_decided))


def choose_likeliest(batch: Batch, column_of: IntArray) -> IntArray:
    """Return the matrix column of each image's likeliest class, shape (images,).

    This is the first of the top-5 outputs that belongs to the classes of the matrix. If
    none does, it is the class with the highest probability, or OUTSIDE if all these
    probabilities are 0 or unknown.

    Args:
      batch: predictions of some images.
      column_of: shape (outputs,), the matrix column of each output, or OUTSIDE.
    """
    top5 = column_of[batch.top5]
    first = (top5 != OUTSIDE).argmax(axis=1)
    columns: IntArray = top5[np.arange(len(top5)), first]
    inside = np.flatnonzero(column_of != OUTSIDE)
    if batch.probabilities is not None and len(inside):
        unknown = np.flatnonzero(columns == OUTSIDE)
        probabilities = batch.probabilities[unknown][:, inside]
        likeliest = column_of[inside[probabilities.argmax(axis=1)]]
        is_known = probabilities.max(axis=1) > 0
        columns[unknown] = np.where(is_known, likeliest, OUTSIDE)
    return columns


def _add_ranks(
    columns: IntArray, row: IntArray, weights: Sequence[int], cells: IntArray
) -> BoolArray:
    """Add the weights of the ranked predictions to the cells.

    Args:
      columns: shape (images, ranks), matrix column of the class at each rank, or
        OUTSIDE.
      row: shape (images,), row of each image in `cells`.
      weights: number of units of each rank.
      cells: shape (rows, classes), changed in place.

    Returns:
      Shape (images,), whether the image was added to any cell.
    """
    for ranked, weight in zip(columns.T, weights, strict=False):
        known = ranked != OUTSIDE
        np.add.at(cells, (row[known], ranked[known]), weight)
    return np.asarray((columns != OUTSIDE).any(axis=1))


def share_out(probabilities: Float16Array) -> IntArray:
    """Convert float16 probabilities to integer units, `UNITS` for a probability of 1.

    The conversion is exact unless an image's probabilities sum to more than 1 because
    of float16 rounding. They are then divided by their sum and rounded down, so that no
    image counts more than once.

    Args:
      probabilities: shape (images, outputs).

    Returns:
      Shape (images, outputs).
    """
    exact = (probabilities.astype(np.float32) * _FLOAT16_UNITS).astype(np.int64)
    sums = exact.sum(axis=1)
    units: IntArray = exact * 31
    over = sums > _FLOAT16_UNITS
    units[over] = exact[over] * UNITS // sums[over, None]
    return units


def _add_probabilities(
    probabilities: Float16Array, row: IntArray, column_of: IntArray, cells: IntArray
) -> BoolArray:
    """Add the probabilities, in units, to the cells.

    Args:
      probabilities: shape (images, outputs).
      row: shape (images,), row of each image in `cells`.
      column_of: shape (outputs,), the matrix column of each output, or OUTSIDE.
      cells: shape (rows, classes), changed in place.

    Returns:
      Shape (images,), whether the image was added to any cell.
    """
    order = np.argsort(row, kind="stable")
    rows, starts = np.unique(row[order], return_index=True)
    inside = np.flatnonzero(column_of != OUTSIDE)
    units = share_out(probabilities)[:, inside]
    cells[rows[:, None], column_of[inside]] += np.add.reduceat(units[order], starts)
    return np.asarray(units.any(axis=1))


def _read_file(path: str) -> _File:
    if PurePosixPath(path).suffix == prediction_files.SUFFIX:
        return _read_parquet(path)
    (predictions,) = read_predictions([path])
    outputs = [info.wnid for info in load_classes()]
    wnids = np.array(outputs)[predictions.truth]
    columns = {
        "wnid": pa.array(wnids),
        "model": pa.repeat(predictions.model, len(wnids)),
        "model_id": pa.repeat("", len(wnids)),
    }
    rows = pa.table({
        "key": pa.array(predictions.keys),
        **{name: column.dictionary_encode() for name, column in columns.items()},
        "seen": pa.repeat(pa.scalar(value=False), len(wnids)),
    })
    return _File(
        path,
        rows,
        num_parts=1,
        has_probabilities=False,
        outputs=frozenset(outputs),
    )


def _read_parquet(path: str) -> _File:
    described = prediction_files.describe(path)
    names = ["key", *_REPEATED, "seen"]
    try:
        rows = storage.read_parquet(path, names, read_dictionary=list(_REPEATED))
        rows.validate(full=True)  # strings may be invalid UTF-8
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"{path}: is damaged ({error!s:.200}); {prediction_files.REMEDY}"
        ) from error
    for name in ("key", *_REPEATED):
        if rows[name].null_count or not rows.num_rows:
            raise UsageError(
                f"{path}: column {name} has missing values; {prediction_files.REMEDY}"
            )
    return _File(
        path,
        rows.replace_schema_metadata(),
        described.num_row_groups,
        described.has_probabilities,
        frozenset(
            w for m in described.models for w in prediction_files.find_outputs(m)
        ),
    )


def _encode(column: pa.ChunkedArray) -> _Codes:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    coded = pa.concat_arrays(column.unify_dictionaries().chunks)
    unsorted_values = coded.dictionary.to_pylist()
    values = sorted(set(unsorted_values))
    code_of = {value: code for code, value in enumerate(values)}
    codes = np.array([code_of[value] for value in unsorted_values], np.int64)
    return _Codes(values, codes[coded.indices.to_numpy()])


def _find_repeats(
    images: _Codes,
    same_model: IntArray,
    names: pa.ChunkedArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield a message if a model has several predictions for an image.

    Args:
      images: key of the image in each row.
      same_model: shape (rows,), equal for rows with the same model name and id.
      names: model name in each row.
      path_of: shape (rows,), path of the file that contains each row.
    """
    pairs: list[tuple[int, int, int]] = []  # of each model: rows, number of images
    for model in np.unique(same_model):
        rows = np.flatnonzero(same_model == model)
        rows = rows[np.argsort(images.codes[rows], kind="stable")]
        repeated = np.flatnonzero(np.diff(images.codes[rows]) == 0)
        if len(repeated):
            start = repeated[0]
            pairs.append((int(rows[start]), int(rows[start + 1]), len(repeated)))
    if not pairs:
        return
    (first, second, count), *others = pairs
    name, path = names[second].as_py(), path_of[second]
    more = ""
    if others:
        shown = list_names(names[row].as_py() for _, row, _ in others)
        more = f"; other models also have several predictions of an image: {shown}"
    if path_of[first] == path:
        key = images.values[images.codes[second]]
        yield (
            f"{path}: has several predictions of {name} for {count} images, e.g. "
            f"{key:.60}; keep one row per image{more}"
        )
    else:
        yield (
            f"{path}: {path_of[first]} also has predictions of {name}, for {count} of "
            f"the same images; rename the file, or give only one{more}"
        )


def _find_class_conflict(
    images: _Codes,
    classes: _Codes,
    class_of: IntArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield a message if rows of the same image have different true classes.

    Args:
      images: key of the image in each row.
      classes: wnid of the image in each row.
      class_of: shape (images,), code of the wnid in the first row of each image.
      path_of: shape (rows,), path of the file that contains each row.
    """
    first = class_of[images.codes]
    if len(conflicts := np.flatnonzero(first != classes.codes)):
        row = conflicts[0]
        yield (
            f"{path_of[row]}: image {images.values[images.codes[row]]:.60} has class "
            f"{classes.values[classes.codes[row]]}, but {classes.values[first[row]]} "
            f"in an earlier row ({len(conflicts)} such rows); give predictions with "
            "the same labels"
        )


def _find_class_problems(wnids: Sequence[str]) -> Iterator[str]:
    if invalid := [wnid for wnid in wnids if not is_wnid(wnid)]:
        shown = list_names(f"{wnid!r:.20}" for wnid in invalid)
        yield f"{shown}: not a wnid (n and 8 digits); {prediction_files.REMEDY}"
    if not 2 <= len(wnids) <= MAX_CLASSES:
        yield (
            f"has images of {len(wnids)} class{'es' if len(wnids) > 1 else ''}; "
            f"2 to {MAX_CLASSES} are allowed"
        )
