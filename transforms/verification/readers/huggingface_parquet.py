"""Read the Parquet files with Hugging Face's `datasets` library.

The card in the folder of these files configures the library.
"""

import importlib
from collections.abc import Iterator, Sequence

from transforms.formats.parquet import FOLDER
from transforms.verification.readers import ReadImage

FORMAT = "parquet"
LIBRARY = "datasets"


def read_names(directory: str) -> Sequence[str]:
    """Return the label names in the dataset card."""
    datasets = importlib.import_module(LIBRARY)
    splits = datasets.load_dataset(f"{directory}/{FOLDER}", streaming=True)
    names: list[str] = next(iter(splits.values())).features["label"].names
    return names


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Stream the images of every split in the dataset card, without a cache.

    Raises:
      ValueError: an image's two file names differ.
    """
    datasets = importlib.import_module(LIBRARY)
    found = datasets.load_dataset(f"{directory}/{FOLDER}", streaming=True)
    for split, images in found.items():
        for row in images.cast_column("image", datasets.Image(decode=False)):
            file_name = row["file_name"]
            if row["image"]["path"] != file_name:
                raise ValueError(f"{file_name} has image.path {row['image']['path']}")
            yield ReadImage(
                str(split),
                file_name.removesuffix(".JPEG"),
                row["image"]["bytes"],
                (row["label"],),
                row["fine_label"],
                row["wnid"],
                file_name,
            )
