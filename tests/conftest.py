"""Fixtures of all tests. They are created once per session: never modify them.

Each is a folder with the same images (6 classes, 20 training and 5 validation images
each, including `CONVERSIONS`):

  mini_imagenet    official archives and LOC_val_solution.csv
  class_folders    train/<wnid>/*.JPEG, val/<wnid>/*.JPEG
  kaggle_tree      ILSVRC/Data/CLS-LOC/{train/<wnid>,val}, LOC_val_solution.csv
  class_archives   <wnid>.tar, training images only
  kaggle_zip       the tree as a zip file, including LOC_val_solution.csv
  huggingface_parquet  data/{train,validation}-00000-of-00002.parquet
  tfds_records         imagenet2012-{train,validation}.tfrecord-00000-of-00002
  webdataset_tars      imagenet1k-{train,validation}-0000.tar

  real_data        the folder of real photographs, for tests marked `real`

  mini_index       index of mini_imagenet, a file
  halves           dataset of mini_imagenet with folds; each class is a group

`tests/making.py` creates images and archives for single tests.
"""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from pipelines import index
from tests import building, making, making_layouts
from transforms.labels.validation import KAGGLE_TABLE
from transforms.layouts.official_archives import TRAIN, VALIDATION
from transforms.miniature import archives as miniature

NUM_CLASSES, NUM_TRAIN, NUM_VALIDATION = 6, 20, 5
collect_ignore = ["airflow"]  # has a separate environment: make test-airflow


@pytest.fixture(scope="session")
def mini_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the miniature, and replace some images by unusual ones."""
    folder = tmp_path_factory.mktemp("imagenet")
    miniature.write_miniature(
        str(folder),
        num_classes=NUM_CLASSES,
        num_train=NUM_TRAIN,
        num_validation=NUM_VALIDATION,
    )
    train = {
        name: making.tar_bytes(_with_conversions(making.read_tar(data)))
        for name, data in making.read_tar(folder / TRAIN).items()
    }
    making.write_tar(folder / TRAIN, train)
    validation = _with_conversions(making.read_tar(folder / VALIDATION))
    making.write_tar(folder / VALIDATION, validation)
    return folder


def _with_conversions(files: dict[str, bytes]) -> dict[str, bytes]:
    odd = dict(files)
    for key, make in making.CONVERSIONS.items():
        name = f"{key}.JPEG"
        if name in files:
            odd[name] = make(Image.open(io.BytesIO(files[name])))
    return odd


@pytest.fixture(scope="session")
def mini_index(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    index.main([f"--input={mini_imagenet}", f"--output={path}"])
    return path


@pytest.fixture(scope="session")
def halves(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return building.run(
        mini_imagenet,
        tmp_path_factory.mktemp("halves"),
        formats="tfrecord,webdataset",
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
        folds="2",
    )


@pytest.fixture(scope="session")
def class_archives(
    mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("class_archives")
    return making.write_files(folder, making.read_tar(mini_imagenet / TRAIN))


@pytest.fixture(scope="session")
def class_folders(
    mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    wnids = making.read_labels(mini_imagenet / KAGGLE_TABLE)
    files = _train_files(mini_imagenet)
    for name, data in making.read_tar(mini_imagenet / VALIDATION).items():
        files[f"val/{wnids[Path(name).stem]}/{name}"] = data
    return making.write_files(tmp_path_factory.mktemp("class_folders"), files)


@pytest.fixture(scope="session")
def kaggle_tree(mini_imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    validation = making.read_tar(mini_imagenet / VALIDATION)
    files = _train_files(mini_imagenet)
    files |= {f"val/{name}": data for name, data in validation.items()}
    root = tmp_path_factory.mktemp("kaggle")
    making.write_files(root / "ILSVRC/Data/CLS-LOC", files)
    (root / KAGGLE_TABLE).write_bytes((mini_imagenet / KAGGLE_TABLE).read_bytes())
    return root


@pytest.fixture(scope="session")
def kaggle_zip(
    mini_imagenet: Path, class_folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("zip") / "imagenet.zip"
    images = making_layouts.read_class_folders(class_folders)
    labels = (mini_imagenet / KAGGLE_TABLE).read_bytes()
    return making_layouts.write_kaggle_zip(path, images, labels)


@pytest.fixture(scope="session")
def huggingface_parquet(
    class_folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("huggingface") / "imagenet-1k"
    images = making_layouts.read_class_folders(class_folders)
    return making_layouts.write_huggingface(folder, images)


@pytest.fixture(scope="session")
def tfds_records(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds") / "imagenet2012" / "5.1.0"
    images = making_layouts.read_class_folders(class_folders)
    return making_layouts.write_tfds(folder, images)


@pytest.fixture(scope="session")
def webdataset_tars(
    class_folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("webdataset")
    images = making_layouts.read_class_folders(class_folders)
    return making_layouts.write_webdataset(folder, images)


def _train_files(imagenet: Path) -> dict[str, bytes]:
    return {
        f"train/{Path(archive).stem}/{name}": data
        for archive, content in making.read_tar(imagenet / TRAIN).items()
        for name, data in making.read_tar(content).items()
    }


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("SUBSETS_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.fail(
            f"SUBSETS_REAL_DATA={folder!r} is not a folder: set it to the real "
            'photographs, or deselect these tests with -m "not real"'
        )
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write_goldens", action="store_true", help="rewrite golden files"
    )
