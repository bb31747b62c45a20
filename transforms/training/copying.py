"""A dataset and models in buckets ↔ copies on this machine, which training works on.

Each epoch reads all images, and TensorFlow reads files: a copy is read once from the
bucket. A model goes to its bucket when it is finished, or when its training was
stopped by whoever can still say so, with what a later run goes on from.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transforms import local_copies, storage
from transforms.training import checkpoint

_NOT_TRAINED_ON = ("folders", "parquet")  # other formats of the same images


@contextmanager
def of_dataset(directory: str, validation_split: str) -> Iterator[str]:
    """Name a local copy of what training needs of a dataset; itself, if it is local.

    Raises: UsageError: there is no room for it.
    """

    def is_needed(name: str) -> bool:
        top = name.split("/", 1)[0]
        is_needed = not name.endswith(".tar") or top == validation_split
        return is_needed and top not in _NOT_TRAINED_ON

    if storage.is_remote(directory):
        sys.stderr.write(f"copying the dataset from {directory}\n")
    with local_copies.of_folder(directory, wanted=is_needed) as folder:
        yield folder


@contextmanager
def of_models(output: str, names: Sequence[str]) -> Iterator[str]:
    """Name a local copy of what lies there of these models; itself, if it is local."""

    def is_one(name: str) -> bool:
        return name.split("/", 1)[0] in names

    with local_copies.of_folder(output, wanted=is_one) as folder:
        yield folder


def bring_back(folder: str, *, output: str, target: str) -> None:
    """Bring a model's folder to its bucket; a local one is there.

    Args:
      folder: in `output`.
      output: as `of_models` named it.
      target: where the models are wanted.
    """
    if not storage.is_remote(target):
        return
    there = f"{target}{folder.removeprefix(output)}"
    storage.copy_folder(folder, there)
    if not storage.exists(f"{folder}/{checkpoint.FOLDER}"):
        storage.remove_folder(f"{there}/{checkpoint.FOLDER}")
