"""Read Parquet files row by row with pyarrow, which is always installed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from transforms.formats.parquet import FOLDER
from transforms.verification.readers import ReadImage

FORMAT = "parquet"
LIBRARY = ""
_COLUMNS = ["image", "label", "fine_label", "wnid", "file_name"]
_BATCH = 100


def read_names(directory: str) -> None:
    """Return None: this reader does not read the label names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every file of every split.

    Raises:
      ValueError: a file has unexpected columns, or an image's two file names differ.
    """
    for split in splits:
        for path in sorted(Path(directory, FOLDER, "data").glob(f"{split}-*.parquet")):
            with pq.ParquetFile(path) as file:
                if (names := file.schema_arrow.names) != _COLUMNS:
                    raise ValueError(f"{path.name} has the columns {names}")
                for batch in file.iter_batches(_BATCH):
                    yield from (_to_image(split, row) for row in batch.to_pylist())


def _to_image(split: str, row: dict) -> ReadImage:
    name = row["file_name"]
    if row["image"]["path"] != name:
        raise ValueError(f"{name} has image.path {row['image']['path']}")
    return ReadImage(
        split,
        name.removesuffix(".JPEG"),
        row["image"]["bytes"],
        (row["label"],),
        row["fine_label"],
        row["wnid"],
        name,
    )
