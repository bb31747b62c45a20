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

from transforms import seeds
from transforms.confusion import npz
from transforms.confusion.confusion_matrix import Confusion
from transforms.labels.classes import load_classes
from transforms.scoring import prediction_rows
from transforms.scoring.prediction_rows import Batch, Float16Array
from transforms.scoring.predictions import read_predictions

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ONE = 1 << 24
UNITS = 31 * _ONE
_HARD = (UNITS,)
_SOFT = tuple(weight * _ONE for weight in (16, 8, 4, 2, 1))  # each half the last
OUTSIDE = -1


class Piece(NamedTuple):
    """A part of a file, counted in one go."""

    path: str
    row_group: int  # 0 for a file that is one piece


class Cutoff(NamedTuple):
    """The last image of a class's first half, by (hash, key)."""

    place: int
    key: str


@dataclass(frozen=True)
class TallyPlan:
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
class Tally:
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
    def empty(cls, size: int) -> "Tally":
        """Start with nothing."""
        return cls(np.zeros((2, size, size), np.int64), np.zeros((2, size), np.int64))

    def add(self, other: "Tally") -> None:
        """Add what another piece counted."""
        self.cells += other.cells
        self.num_images += other.num_images
        self.num_undecided += other.num_undecided

    def to_bytes(self) -> bytes:
        """Write a tally, as `read_tally` reads it."""
        undecided = np.array([self.num_undecided])
        return npz.to_bytes({
            "cells": self.cells,
            "num_images": self.num_images,
            "num_undecided": undecided,
        })

    def to_confusions(self, plan: TallyPlan, models: Sequence[str]) -> list[Confusion]:
        """Make the matrices of all images, of half A and of half B."""
        return [
            Confusion(cells / UNITS, plan.wnids, num_images, tuple(models))
            for cells, num_images in (
                (self.cells.sum(axis=0), self.num_images.sum(axis=0)),
                *zip(self.cells, self.num_images, strict=True),
            )
        ]


def read_tally(data: bytes, size: int) -> Tally:
    """Read a tally that this job wrote."""
    names = ("cells", "num_images", "num_undecided")
    arrays = npz.parse(data, names, max_bytes=2 * 8 * size**2 + 1_000)
    return Tally(arrays[names[0]], arrays[names[1]], int(arrays[names[2]][0]))


def count(piece: Piece, plan: TallyPlan) -> Tally:
    """Count what the images of a piece are taken for.

    Raises: UsageError: what the file holds that cannot be.
    """
    tally = Tally.empty(len(plan.wnids))
    for batch in _read(piece, plan):
        add_batch(batch, plan, tally)
    return tally


def _read(piece: Piece, plan: TallyPlan) -> Iterator[Batch]:
    if PurePosixPath(piece.path).suffix == prediction_rows.SUFFIX:
        described = prediction_rows.describe(piece.path)
        outputs = {w for m in described.models for w in prediction_rows.find_outputs(m)}
        yield from prediction_rows.read_batches(
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


def add_batch(batch: Batch, plan: TallyPlan, tally: Tally) -> None:
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
