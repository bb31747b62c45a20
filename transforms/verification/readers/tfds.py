"""Read TFRecord shards and their metadata files with TensorFlow Datasets."""

import importlib
from collections.abc import Iterator, Sequence

from transforms.verification.readers import ReadImage

FORMAT = "tfrecord"
LIBRARY = "tensorflow_datasets"


def read_names(directory: str) -> Sequence[str]:
    """Return the label names in the dataset's TFDS metadata."""
    tfds = importlib.import_module(LIBRARY)
    builder = tfds.builder_from_directory(directory)
    names: list[str] = builder.info.features["label"].names
    return names


def read_images(
    directory: str,
    splits: Sequence[str],  # noqa: ARG001
) -> Iterator[ReadImage]:
    """Read every split in the dataset's TFDS metadata, without decoding the images."""
    tfds = importlib.import_module(LIBRARY)
    builder = tfds.builder_from_directory(directory)
    skip = {"image": tfds.decode.SkipDecoding()}
    for split in builder.info.splits:
        examples = builder.as_dataset(split=split, decoders=skip).as_numpy_iterator()
        for example in examples:
            file_name = example["file_name"].decode()
            yield ReadImage(
                split,
                file_name.removesuffix(".JPEG"),
                example["image"],
                (int(example["label"]),),
                int(example["fine_label"]),
                example["wnid"].decode(),
                file_name,
            )
