"""Read the CSV file that Keras' CSVLogger writes."""

from transforms.evaluation.training_logs import (
    LogColumns,
    TrainingLog,
    parse_csv,
    read_table,
)

FILE_PATTERNS = ("*.csv", "*.log", "*.tsv")
NAMES_FILES = True


def read(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read a log; its epochs are numbered from 0."""
    table = parse_csv(text)
    if columns.epoch or table is None or table.header[:1] != ["epoch"]:
        return None
    metrics = table.header[1:]
    if "step" in metrics or not any(name.startswith("val_") for name in metrics):
        return None
    return read_table(
        table,
        format_name="keras",
        epoch_column="epoch",
        accuracy_column=columns.accuracy,
        first_epoch=0,
    )
