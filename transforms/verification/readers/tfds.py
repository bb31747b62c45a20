"""Read TFRecord shards and their metadata files with TensorFlow Datasets."""

import importlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.verification.readers import ReadImage

FORMAT = "tfrecord"
LIBRARY = "tensorflow_datasets"
USES_TENSORFLOW = True
_BATCH = 256
_COLUMNS = ("image", "label", "fine_label", "wnid", "file_name")


def read_names(directory: str) -> Sequence[str]:
    """Return the label names in the dataset's TFDS metadata."""
    tfds = importlib.import_module(LIBRARY)
    builder = tfds.builder_from_directory(directory)
    names: list[str] = builder.info.features["label"].names
    return names


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read the shards in the dataset's TFDS metadata, without decoding the images.

    Shards without a file are omitted, because the folder can be a part of a dataset,
    and those without images, because TFDS raises an error if it selects no others.
    """
    tfds = importlib.import_module(LIBRARY)
    builder = tfds.builder_from_directory(directory)
    skip = {"image": tfds.decode.SkipDecoding()}
    for split, info in builder.info.splits.items():
        is_read = [
            length > 0 and Path(path).exists()
            for path, length in zip(info.filepaths, info.shard_lengths, strict=True)
        ]
        for has_images, run in itertools.groupby(
            range(len(is_read)), is_read.__getitem__
        ):
            shards = list(run)
            if not has_images:
                continue
            batches = builder.as_dataset(
                split=f"{split}[{shards[0]}shard:{shards[-1] + 1}shard]",
                decoders=skip,
                batch_size=_BATCH,
            )
            for batch in batches.as_numpy_iterator():
                columns = (batch[name].tolist() for name in _COLUMNS)
                for image, label, fine_label, wnid, name in zip(*columns, strict=True):
                    file_name = name.decode()
                    yield ReadImage(
                        split,
                        file_name.removesuffix(".JPEG"),
                        image,
                        (label,),
                        fine_label,
                        wnid.decode(),
                        file_name,
                    )
