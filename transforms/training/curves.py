"""Write curves.csv, one row per epoch of a training run."""

from collections.abc import Iterable
from typing import NamedTuple

from transforms import csv_tables


class CurveRow(NamedTuple):
    """The result of one epoch. The fields are the columns of curves.csv."""

    dataset: str  # name of the dataset
    subset_id: str
    model: str
    seed: int
    learning_rate: float
    epoch: int  # from 1
    epochs: int  # of the whole schedule
    train_images: int
    validation_images: int
    validation_accuracy: float  # 0 … 1
    seconds: float  # of training and validation in this epoch


def to_csv(rows: Iterable[CurveRow]) -> bytes:
    """Serialise rows, with a header, to CSV; numbers are not rounded."""
    return csv_tables.to_csv(CurveRow._fields, rows)
