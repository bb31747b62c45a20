"""Read tar shards with the webdataset library."""

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.verification.readers import ReadImage

FORMAT = "webdataset"
LIBRARY = "webdataset"


def read_names(directory: str) -> None:
    """Return None: tar shards contain no label names."""


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every shard of every split; raise an error for damaged shards."""
    webdataset = importlib.import_module(LIBRARY)
    for split in splits:
        shards = sorted(str(path) for path in Path(directory, split).glob("*.tar"))
        samples = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
        for sample in samples:
            labels = json.loads(sample["json"])
            yield ReadImage(
                split,
                sample["__key__"],
                sample["jpg"],
                (int(sample["cls"]), labels["label"]),
                labels["fine_label"],
                labels["wnid"],
                labels["file_name"],
            )
