"""Read a plain CSV table whose columns the user names."""

from transforms.evaluation.training_logs import (
    LogColumns,
    TrainingLog,
    parse_csv,
    read_table,
)

FILE_PATTERNS = ("*.csv", "*.log", "*.tsv")
NAMES_FILES = True


def read(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read a table; its epochs are numbered from 0 or 1."""
    if not columns.epoch:
        return None
    table = parse_csv(text)
    if table is None or not {columns.epoch, columns.accuracy} <= set(table.header):
        return None
    return read_table(
        table,
        format_name="columns",
        epoch_column=columns.epoch,
        accuracy_column=columns.accuracy,
        first_epoch=None,
    )
