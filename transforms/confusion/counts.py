"""Predictions, piece by piece → exact counts of what images of a class are taken for.

All is counted in integers, so that the order of the pieces, and which worker counts
which, changes nothing: an image is worth `UNITS`, and what a model says of it shares
them out. 31 · 2²⁴ holds the weights of ranks, which are 31sts, and any float16 from 0
to 1, which is a multiple of 2⁻²⁴.
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
import pyarrow.parquet as pq

from transforms import npz, seeds, storage
from transforms.arrays import BoolArray, IntArray
from transforms.confusion.matrix import MAX_CLASSES, Confusion
from transforms.labels.classes import is_wnid, load_classes
from transforms.predictions import reading as prediction_files
from transforms.predictions.reading import Batch, Float16Array, read_predictions
from transforms.records import UsageError, list_names

_ONE = 1 << 24
UNITS = 31 * _ONE
_HARD = (UNITS,)
_SOFT = tuple(weight * _ONE for weight in (16, 8, 4, 2, 1))  # each half the last
OUTSIDE = -1


class PredictionPart(NamedTuple):
    """A part of a file, counted in one go."""

    path: str
    row_group: int  # 0 for a file that is one piece


class Cutoff(NamedTuple):
    """The last image of a class's first half, by (hash, key)."""

    place: int
    key: str


@dataclass(frozen=True)
class CountPlan:
    """What is counted, and how."""

    wnids: tuple[str, ...]  # rows and columns
    cutoffs: tuple[Cutoff, ...]  # of each class
    seed: int
    is_soft: bool

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Wnid → row and column."""
        return {wnid: place for place, wnid in enumerate(self.wnids)}

    def halve(self, keys: Sequence[str], true: IntArray) -> IntArray:
        """Tell each image's half: 0 (A) up to the cutoff of its class, 1 (B) past it.

        It is the same half that `--folds 2` makes of all images of the files.
        """
        places = seeds.orders(self.seed, "fold", keys)
        last = np.array([cutoff.place for cutoff in self.cutoffs])[true]
        half = (places > last).astype(np.int64)
        for row in np.flatnonzero(places == last).tolist():
            half[row] = keys[row] > self.cutoffs[true[row]].key
        return half


@dataclass(eq=False)
class ConfusionCounts:
    """What images were taken for, in both halves.

    Attributes:
      cells: shape (2, classes, classes): half, true class, predicted class; in UNITS.
      num_images: shape (2, classes): half, true class.
      num_undecided: images that no cell counts, since the model named none of the
        classes.
    """

    cells: IntArray
    num_images: IntArray
    num_undecided: int = 0

    @classmethod
    def empty(cls, size: int) -> "ConfusionCounts":
        """Start with nothing."""
        return cls(np.zeros((2, size, size), np.int64), np.zeros((2, size), np.int64))

    def add(self, other: "ConfusionCounts") -> None:
        """Add what another piece counted."""
        self.cells += other.cells
        self.num_images += other.num_images
        self.num_undecided += other.num_undecided

    def to_bytes(self) -> bytes:
        """Write a tally, as `read_tally` reads it."""
        undecided = np.array([self.num_undecided])
        return npz.to_npz_bytes({
            "cells": self.cells,
            "num_images": self.num_images,
            "num_undecided": undecided,
        })

    def to_confusions(self, plan: CountPlan, models: Sequence[str]) -> list[Confusion]:
        """Make the matrices of all images, of half A and of half B."""
        return [
            Confusion(cells / UNITS, plan.wnids, num_images, tuple(models))
            for cells, num_images in (
                (self.cells.sum(axis=0), self.num_images.sum(axis=0)),
                *zip(self.cells, self.num_images, strict=True),
            )
        ]


def read_counts(data: bytes, size: int) -> ConfusionCounts:
    """Read a tally that this job wrote."""
    names = ("cells", "num_images", "num_undecided")
    arrays = npz.read_npz(data, names, max_bytes=2 * 8 * size**2 + 1_000)
    return ConfusionCounts(arrays[names[0]], arrays[names[1]], int(arrays[names[2]][0]))


def count(piece: PredictionPart, plan: CountPlan) -> ConfusionCounts:
    """Count what the images of a piece are taken for.

    Raises: UsageError: what the file holds that cannot be.
    """
    tally = ConfusionCounts.empty(len(plan.wnids))
    for batch in _read(piece, plan):
        add_batch(batch, plan, tally)
    return tally


def _read(piece: PredictionPart, plan: CountPlan) -> Iterator[Batch]:
    if PurePosixPath(piece.path).suffix == prediction_files.SUFFIX:
        described = prediction_files.describe(piece.path)
        outputs = {
            w for m in described.models for w in prediction_files.find_outputs(m)
        }
        yield from prediction_files.read_batches(
            described,
            [piece.row_group],
            with_probabilities=plan.is_soft or not outputs <= plan.place_of.keys(),
        )
        return
    (found,) = read_predictions([piece.path])
    wnids = [info.wnid for info in load_classes()]
    yield Batch(
        model=found.model,
        outputs=tuple(wnids),
        keys=list(found.keys),
        wnids=[wnids[index] for index in found.truth.tolist()],
        top5=found.top5.astype(np.int64),
    )


def add_batch(batch: Batch, plan: CountPlan, tally: ConfusionCounts) -> None:
    """Add what a model says of some images to a tally."""
    place_of = plan.place_of
    true = np.array([place_of[wnid] for wnid in batch.wnids], np.int64)
    column_of = np.array([place_of.get(w, OUTSIDE) for w in batch.outputs], np.int64)
    row = plan.halve(batch.keys, true) * len(plan.wnids) + true
    np.add.at(tally.num_images.reshape(-1), row, 1)
    cells = tally.cells.reshape(-1, len(plan.wnids))
    if plan.is_soft and batch.probabilities is not None:
        is_decided = _add_probabilities(batch.probabilities, row, column_of, cells)
    elif plan.is_soft:
        columns = column_of[batch.top5]
        is_decided = _add_ranks(columns, row, _SOFT, cells)
    else:
        columns = choose_likeliest(batch, column_of)
        is_decided = _add_ranks(columns[:, None], row, _HARD, cells)
    tally.num_undecided += int(np.count_nonzero(~is_decided))


def choose_likeliest(batch: Batch, column_of: IntArray) -> IntArray:
    """Find the likeliest of the classes that count, OUTSIDE where none is known.

    It is the first such of the five. Where all five are outside, it is the likeliest
    one by the probabilities, if these were read and tell it from 0.
    """
    five = column_of[batch.top5]
    first = (five != OUTSIDE).argmax(axis=1)
    chosen: IntArray = five[np.arange(len(five)), first]
    inside = np.flatnonzero(column_of != OUTSIDE)
    if batch.probabilities is not None and len(inside):
        unknown = np.flatnonzero(chosen == OUTSIDE)
        among = batch.probabilities[unknown][:, inside]
        best = column_of[inside[among.argmax(axis=1)]]
        chosen[unknown] = np.where(among.max(axis=1) > 0, best, OUTSIDE)
    return chosen


def _add_ranks(
    columns: IntArray, row: IntArray, weights: Sequence[int], cells: IntArray
) -> BoolArray:
    """Add each rank's weight to its cell; returns which images were counted."""
    for ranked, weight in zip(columns.T, weights, strict=False):
        known = ranked != OUTSIDE
        np.add.at(cells, (row[known], ranked[known]), weight)
    return np.asarray((columns != OUTSIDE).any(axis=1))


def share_out(probabilities: Float16Array) -> IntArray:
    """Turn probabilities into units of an image, exactly.

    Where they sum to more than 1, as rounded ones may, they are divided by their sum,
    rounded down: no image counts more than once.
    """
    exact = (probabilities.astype(np.float32) * _ONE).astype(np.int64)
    sums = exact.sum(axis=1)
    units: IntArray = exact * 31
    over = sums > _ONE
    units[over] = exact[over] * UNITS // sums[over, None]
    return units


def _add_probabilities(
    probabilities: Float16Array, row: IntArray, column_of: IntArray, cells: IntArray
) -> BoolArray:
    """Add each class's share to its cell; returns which images were counted."""
    order = np.argsort(row, kind="stable")
    rows, starts = np.unique(row[order], return_index=True)
    inside = np.flatnonzero(column_of != OUTSIDE)
    units = share_out(probabilities)[:, inside]
    cells[rows[:, None], column_of[inside]] += np.add.reduceat(units[order], starts)
    return np.asarray(units.any(axis=1))


_REPEATED = ("wnid", "model", "model_id")  # few texts, often


@dataclass(frozen=True, kw_only=True)
class PredictionSurvey:
    """What is known of all files before any image is counted."""

    pieces: tuple[PredictionPart, ...]
    models: tuple[str, ...]  # by name, in the order of the files
    wnids: tuple[str, ...]  # of all images, sorted
    cutoffs: tuple[Cutoff, ...]  # the last image of each class's first half
    num_images: int  # each as often as models were asked
    num_seen: int  # of them, those that the model was trained on
    by_probabilities: tuple[str, ...]  # the files that keep them
    by_rank: tuple[str, ...]  # those that do not


class _File(NamedTuple):
    """A file: for each row which image it is of, and which model was asked."""

    path: str
    rows: pa.Table
    num_pieces: int
    has_probabilities: bool


class _Codes(NamedTuple):
    """A column of texts: each row's place among the distinct ones, which are sorted."""

    values: list[str]
    codes: IntArray


def survey(paths: Sequence[str], *, seed: int) -> PredictionSurvey:
    """Find which images files of predictions hold.

    Args:
      paths: `.npz` and `.parquet` files, as `read_predictions` takes them; here models
        may share a name, as the two of a cross-fit do, if they are not the same.
      seed: decides the halves: of each class the first ⌈n/2⌉ of its images by
        hash(fold), however many models and files they stand in.
    Raises: UsageError: all files' problems, a line each.
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
    class_of[images.codes[::-1]] = classes.codes[::-1]  # what the first row says
    problems += _find_contradiction(images, classes, class_of, path_of)
    problems += _find_class_problems(classes.values)
    if problems:
        raise UsageError("\n".join(f"--predictions {problem}" for problem in problems))
    return PredictionSurvey(
        pieces=tuple(
            PredictionPart(storage.absolute(file.path), number)
            for file in files
            for number in range(file.num_pieces)
        ),
        models=tuple(rows["model"].unique().to_pylist()),
        wnids=tuple(classes.values),
        cutoffs=find_cutoffs(images.values, class_of, seed=seed),
        num_images=rows.num_rows,
        num_seen=pc.sum(rows["seen"], min_count=0).as_py(),
        by_probabilities=tuple(f.path for f in files if f.has_probabilities),
        by_rank=tuple(f.path for f in files if not f.has_probabilities),
    )


def find_cutoffs(
    keys: Sequence[str], class_of: IntArray, *, seed: int
) -> tuple[Cutoff, ...]:
    """Find the last image of each class's first half; ties go by key.

    Args:
      keys: the images, sorted.
      class_of: shape (images,), the class of each, 0…C-1, none without an image.
      seed: decides the halves.
    """
    places = seeds.orders(seed, "fold", keys)
    order = np.lexsort((places, class_of))
    counts = np.bincount(class_of)
    last = np.cumsum(counts) - counts + (counts + 1) // 2 - 1
    return tuple(Cutoff(int(places[n]), keys[n]) for n in order[last].tolist())


def _read_file(path: str) -> _File:
    if PurePosixPath(path).suffix == prediction_files.SUFFIX:
        return _read_parquet(path)
    (found,) = read_predictions([path])
    wnids = np.array([info.wnid for info in load_classes()])[found.truth]
    columns = {
        "wnid": pa.array(wnids),
        "model": pa.repeat(found.model, len(wnids)),
        "model_id": pa.repeat("", len(wnids)),
    }
    rows = pa.table({
        "key": pa.array(found.keys),
        **{name: column.dictionary_encode() for name, column in columns.items()},
        "seen": pa.repeat(pa.scalar(value=False), len(wnids)),
    })
    return _File(path, rows, num_pieces=1, has_probabilities=False)


def _read_parquet(path: str) -> _File:
    described = prediction_files.describe(path)
    names = ["key", *_REPEATED, "seen"]
    try:
        file = storage.for_arrow(path)
        rows = pq.read_table(file, columns=names, read_dictionary=list(_REPEATED))
        rows.validate(full=True)  # texts may be no UTF-8
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"{path}: is damaged ({error!s:.200}); {prediction_files.REMEDY}"
        ) from error
    for name in ("key", *_REPEATED):
        if rows[name].null_count or not rows.num_rows:
            raise UsageError(
                f"{path}: column {name} has gaps; {prediction_files.REMEDY}"
            )
    return _File(
        path,
        rows.replace_schema_metadata(),
        described.num_row_groups,
        described.has_probabilities,
    )


def _encode(column: pa.ChunkedArray) -> _Codes:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    coded = pa.concat_arrays(column.unify_dictionaries().chunks)
    texts = coded.dictionary.to_pylist()
    values = sorted(set(texts))
    place = {text: number for number, text in enumerate(values)}
    places = np.array([place[text] for text in texts], np.int64)
    return _Codes(values, places[coded.indices.to_numpy()])


def _find_repeats(
    images: _Codes,
    same_model: IntArray,
    names: pa.ChunkedArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield which models stand twice for the same images."""
    for model in np.unique(same_model):
        rows = np.flatnonzero(same_model == model)
        rows = rows[np.argsort(images.codes[rows], kind="stable")]
        again = np.flatnonzero(np.diff(images.codes[rows]) == 0)
        if not len(again):
            continue
        first, second = rows[again[0]], rows[again[0] + 1]
        name, path = names[int(second)].as_py(), path_of[second]
        if path_of[first] == path:
            key = images.values[images.codes[second]]
            yield (
                f"{path}: {len(again)} images stand more than once for {name}, e.g. "
                f"{key:.60}; keep one row of each"
            )
        else:
            yield (
                f"{path}: {path_of[first]} is of {name} already, for {len(again)} of "
                "the same images; rename the file, or give it once"
            )


def _find_contradiction(
    images: _Codes,
    classes: _Codes,
    class_of: IntArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield an image that is of one class here and of another there."""
    first = class_of[images.codes]
    if len(odd := np.flatnonzero(first != classes.codes)):
        row = odd[0]
        yield (
            f"{path_of[row]}: image {images.values[images.codes[row]]:.60} is of "
            f"{classes.values[classes.codes[row]]}, which is of "
            f"{classes.values[first[row]]} in a row before, and so are {len(odd)} rows "
            "in all; give predictions of the same ImageNet"
        )


def _find_class_problems(wnids: Sequence[str]) -> Iterator[str]:
    if strange := [wnid for wnid in wnids if not is_wnid(wnid)]:
        shown = list_names(f"{wnid!r:.20}" for wnid in strange)
        yield f"{shown}: no wnid (n and 8 digits); {prediction_files.REMEDY}"
    if not 2 <= len(wnids) <= MAX_CLASSES:
        yield (
            f"holds images of {len(wnids)} class{'es' if len(wnids) > 1 else ''}; "
            f"2 to {MAX_CLASSES} make a matrix"
        )
