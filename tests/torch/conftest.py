"""Datasets in all five formats for PyTorch readers.

- `single`: every group is one class; 5 × 19 training images in 8 shards, 25 validation
  images in 2. Folders are wnids.
- `coarse`: groups of two classes; 3 × 7 training images in 3 shards, 30 validation
  images in 4. Folders are `000_slug`.
- `train_only`: raw images without a validation set.
- `gap`: the validation images of the first class are missing; class folders only.

The suite needs additional libraries (`requirements.txt`); without them nothing is
collected. torch is imported before TensorFlow; the other order segfaults.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from tests import building

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  # before TensorFlow
else:
    collect_ignore_glob = ["test_*.py"]

# These are read when the libraries are first imported.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["HF_HUB_OFFLINE"] = "1"

ALL_FORMATS = "array_record,folders,parquet,tfrecord,webdataset"


@pytest.fixture(scope="session")
def single(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return building.run(
        mini_imagenet,
        tmp_path_factory.mktemp("single"),
        formats=ALL_FORMATS,
        grouping="random_classes",
        num_groups=5,
        images_per_group=19,
        images_per_shard=13,
        min_validation_images=0,
    )


@pytest.fixture(scope="session")
def coarse(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return building.run(
        mini_imagenet,
        tmp_path_factory.mktemp("coarse"),
        formats=ALL_FORMATS,
        images_per_group=7,
        images_per_shard=8,
        min_validation_images=0,
    )


@pytest.fixture(scope="session")
def train_only(class_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return building.run(
        class_archives,
        tmp_path_factory.mktemp("train_only"),
        formats=ALL_FORMATS,
        images_per_group=7,
        min_validation_images=0,
    )


@pytest.fixture(scope="session")
def gap(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    shutil.copytree(class_folders, folder / "imagenet")
    first = min(path.name for path in (folder / "imagenet" / "val").iterdir())
    shutil.rmtree(folder / "imagenet" / "val" / first)
    return building.run(
        folder / "imagenet",
        folder,
        formats="folders",
        grouping="all_classes",
        num_groups=None,
        images_per_group=9,
        min_validation_images=0,
    )
