"""Read ArrayRecord shards record by record with the array_record library."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.formats.array_record import FOLDER
from transforms.verification.readers import ReadImage
from transforms.verification.readers.tf_data import parse_examples

FORMAT = "array_record"
LIBRARY = "array_record"
USES_TENSORFLOW = True
_BATCH = 256


def read_names(directory: str) -> None:
    """Return None: the records contain no label names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every shard of every split; the library verifies each record's hash."""
    library = importlib.import_module("array_record.python.array_record_module")
    for split in splits:
        pattern = f"*-{split}.array_record-*"
        for path in sorted(Path(directory, FOLDER).glob(pattern)):
            reader = library.ArrayRecordReader(str(path))
            num_records = reader.num_records()
            for start in range(0, num_records, _BATCH):
                end = min(start + _BATCH, num_records)
                yield from parse_examples(split, reader.read(start, end))
            reader.close()
