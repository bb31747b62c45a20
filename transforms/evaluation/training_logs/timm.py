"""Read summary.csv, which timm's train.py writes."""

import re

from transforms.evaluation.training_logs import (
    LogColumns,
    TrainingLog,
    parse_csv,
    read_table,
)

FILE_PATTERNS = ("summary.csv",)
IN_PERCENT = True
_TOP1 = "eval_top1"
_DATE = re.compile(r"\d{8}-\d{6}-(?=.)")  # before the model in the folder's name


def name_model(folder: str) -> str:
    """Return the name of a run's folder without its date."""
    return _DATE.sub("", folder, count=1)


def read(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read a summary; its epochs are numbered from 0."""
    table = parse_csv(text)
    if columns.epoch or table is None or not {"epoch", _TOP1} <= set(table.header):
        return None
    return read_table(
        table,
        format_name="timm",
        epoch_column="epoch",
        accuracy_column=columns.accuracy or _TOP1,
        first_epoch=0,
    )
