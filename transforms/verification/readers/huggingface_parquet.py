"""Read Parquet files through their card with Hugging Face datasets, offline."""

import importlib
from collections.abc import Iterator, Sequence

from transforms.formats.parquet import FOLDER
from transforms.verification.readers import ReadImage

FORMAT = "parquet"
LIBRARY = "datasets"


def read_names(directory: str) -> Sequence[str]:
    """Return the names of the labels as the card gives them."""
    datasets = importlib.import_module(LIBRARY)
    splits = datasets.load_dataset(f"{directory}/{FOLDER}", streaming=True)
    names: list[str] = next(iter(splits.values())).features["label"].names
    return names


def read_images(
    directory: str,
    splits: Sequence[str],  # noqa: ARG001
) -> Iterator[ReadImage]:
    """Stream every split of the card, without a cache."""
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
