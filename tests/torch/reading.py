"""Read a dataset with every PyTorch reader, as its users call it.

A reader takes (directory, split, number of loader processes) and returns all images of
the split, with pixels in torch's order: unsigned bytes, shape (3, height, width).
"""

import functools
import io
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import webdataset
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from tests import building

BATCH = 4


class SeenImage(NamedTuple):
    """An image as training code gets it."""

    key: str  # "" where the reader does not tell it
    label: int
    pixels: np.ndarray


def to_pixels(picture: Image.Image) -> np.ndarray:
    return pil_to_tensor(picture).numpy()


def read_manifest(directory: Path, split: str) -> list[SeenImage]:
    """Decode the images in the manifest, which every reader must return."""
    images = []
    for row in building.manifest(directory):
        if row["split"] == split:
            with (directory / row["file"]).open("rb") as file:
                file.seek(row["offset"])
                picture = Image.open(io.BytesIO(file.read(row["length"])))
            images.append(SeenImage(row["key"], row["label"], to_pixels(picture)))
    return images


def _load(data: Any, workers: int) -> list[Any]:
    """Collect a dataset in batches; the last one may be smaller."""
    loader = DataLoader(data, batch_size=BATCH, collate_fn=list, num_workers=workers)
    return [image for batch in loader for image in batch]


def _with_keys(
    names: Iterable[str], images: Iterable[tuple[np.ndarray, Any]]
) -> list[SeenImage]:
    return [
        SeenImage(Path(name).stem, int(label), pixels)
        for name, (pixels, label) in zip(names, images, strict=True)
    ]


def _read_timm_stream(
    name: str, root: Path, split: str, workers: int
) -> list[SeenImage]:
    """Read a timm stream; names come from a separate pass in the same order."""
    data = create_dataset(name, root=str(root), split=split)
    data.transform = to_pixels
    images = _load(data, workers)
    if workers:
        return [SeenImage("", int(label), pixels) for pixels, label in images]
    names = create_dataset(name, root=str(root), split=split).filenames()
    return _with_keys(
        [n.decode() if isinstance(n, bytes) else n for n in names], images
    )


def read_timm_wds(directory: Path, split: str, workers: int) -> list[SeenImage]:
    return _read_timm_stream(f"wds/{_name(directory)}", directory, split, workers)


def read_timm_tfds(directory: Path, split: str, workers: int) -> list[SeenImage]:
    """Read in a new process, because TensorFlow does not survive a fork.

    In that process timm forks its loader processes, as it does for its users.
    """
    name, root = f"tfds/{_name(directory)}", directory.parent.parent
    if not workers:
        return _read_timm_stream(name, root, split, workers)
    reading = _start_process().submit(_read_timm_stream, name, root, split, workers)
    return reading.result()


@functools.cache
def _start_process() -> ProcessPoolExecutor:
    """Start one process for all tests; only its forks use TensorFlow."""
    new = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, new, initializer=_start_by_fork)


def _start_by_fork() -> None:
    multiprocessing.set_start_method("fork", force=True)


def read_timm_folders(
    directory: Path, split: str, workers: int, class_map: str = ""
) -> list[SeenImage]:
    root = str(directory / "folders")
    data = create_dataset("", root=root, split=split, class_map=class_map)
    data.transform = to_pixels
    return _with_keys(data.filenames(basename=True), _load(data, workers))


def read_timm_parquet(directory: Path, split: str, workers: int) -> list[SeenImage]:
    data = create_dataset(f"hfds/{directory}/parquet", split=split)
    data.transform = to_pixels
    return _with_keys(data.filenames(), _load(data, workers))


def read_image_folder(directory: Path, split: str, workers: int) -> list[SeenImage]:
    folder = directory / "folders" / ("val" if split == "validation" else split)
    data = ImageFolder(str(folder), transform=to_pixels)
    return _with_keys([path for path, _ in data.samples], _load(data, workers))


def read_webdataset(directory: Path, split: str, workers: int) -> list[SeenImage]:
    """Read tars; a loader process without shards is an error unless disabled."""
    shards = sorted(map(str, (directory / split).glob("*.tar")))
    data = webdataset.WebDataset(shards, shardshuffle=False, empty_check=not workers)
    data = data.decode("pil").to_tuple("__key__", "jpg", "cls")
    return [
        SeenImage(key, label, to_pixels(picture))
        for key, picture, label in _load(data, workers)
    ]


def read_hugging_face_parquet(
    directory: Path, split: str, workers: int
) -> list[SeenImage]:
    data = datasets.load_dataset(str(directory / "parquet"), split=split)
    return [
        SeenImage(Path(row["file_name"]).stem, int(row["label"]), row["image"].numpy())
        for row in _load(data.with_format("torch"), workers)
    ]


def read_hugging_face_tars(
    directory: Path, split: str, workers: int
) -> list[SeenImage]:
    data = datasets.load_dataset(str(directory), split=split)
    return _from_tar_rows(_load(data.with_format("torch"), workers))


def read_hugging_face_stream(
    directory: Path, split: str, workers: int
) -> list[SeenImage]:
    data = datasets.load_dataset(str(directory), split=split, streaming=True)
    return _from_tar_rows(_load(data.with_format("torch"), workers))


def _from_tar_rows(rows: list[dict[str, Any]]) -> list[SeenImage]:
    return [
        SeenImage(row["__key__"], int(row["cls"]), row["jpg"].numpy()) for row in rows
    ]


def _name(directory: Path) -> str:
    return directory.parent.name


READERS: dict[str, Callable[[Path, str, int], list[SeenImage]]] = {
    name.removeprefix("read_"): reader
    for name, reader in list(globals().items())
    if name.startswith("read_") and name != "read_manifest"
}
