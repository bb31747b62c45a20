"""A training run ↔ curves.csv: one row an epoch, appended as it ends."""

import csv
import io
from collections.abc import Iterable
from typing import NamedTuple


class CurveRow(NamedTuple):
    """What one epoch of one run reached; the columns of curves.csv in their order."""

    dataset: str  # its name
    subset_id: str
    model: str
    seed: int
    learning_rate: float
    epoch: int  # from 1
    epochs: int  # of the whole schedule
    train_images: int
    validation_images: int
    validation_accuracy: float  # 0 … 1
    seconds: float


def to_csv(rows: Iterable[CurveRow]) -> bytes:
    """Write curves; numbers have as many digits as it takes to read them back."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CurveRow._fields)
    writer.writerows(rows)
    return file.getvalue().encode()
