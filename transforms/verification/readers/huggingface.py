"""Read the WebDataset shards with Hugging Face's `datasets` library.

The dataset card configures the library.
"""

import importlib
from collections.abc import Iterator, Sequence

from transforms.verification.readers import ReadImage

FORMAT = "webdataset"
LIBRARY = "datasets"


def read_names(directory: str) -> Sequence[str]:
    """Return the label names in the dataset card."""
    datasets = importlib.import_module(LIBRARY)
    splits = datasets.load_dataset(directory, streaming=True)
    names: list[str] = next(iter(splits.values())).features["cls"].names
    return names


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Stream the images of every split in the dataset card, without a cache."""
    datasets = importlib.import_module(LIBRARY)
    for split, images in datasets.load_dataset(directory, streaming=True).items():
        for image in images.cast_column("jpg", datasets.Image(decode=False)):
            labels = image["json"]
            yield ReadImage(
                str(split),
                image["__key__"],
                image["jpg"]["bytes"],
                (image["cls"], labels["label"]),
                labels["fine_label"],
                labels["wnid"],
                labels["file_name"],
            )
