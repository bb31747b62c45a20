"""Read metrics.csv, which Lightning's CSVLogger writes.

A row contains metrics that were logged together; the cells of other metrics are empty.
"""

import re

from transforms.evaluation.training_logs import (
    LogColumns,
    TrainingLog,
    parse_csv,
    read_table,
)

FILE_PATTERNS = ("metrics.csv",)
_UNNAMED = re.compile(r"version_\d+|(lightning_|csv_)?logs")


def name_model(folder: str) -> str:
    """Return the folder's name; "" if the logger chose it, e.g. version_0."""
    return "" if _UNNAMED.fullmatch(folder) else folder


def read(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read metrics; their epochs are numbered from 0."""
    table = parse_csv(text)
    if columns.epoch or table is None or not {"epoch", "step"} <= set(table.header):
        return None
    return read_table(
        table,
        format_name="lightning",
        epoch_column="epoch",
        accuracy_column=columns.accuracy,
        first_epoch=0,
        keeps_last=True,
    )
