"""Test that readers number classes as the dataset's labels."""

import pytest
from timm.data import create_dataset
from torchvision.datasets import ImageFolder

from tests import building
from tests.torch import reading
from transforms.formats import folders

pytestmark = pytest.mark.torch


def numbered(directory, field):
    """Return the class map of `classes.json`."""
    classes = building.read_json(directory, "classes.json")
    return {entry[field]: entry["label"] for entry in classes}


@pytest.mark.parametrize(
    ("dataset", "first"), [("single", "n02088364"), ("coarse", "000_group_0")]
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_folders_are_numbered_as_the_labels(dataset, first, split, request):
    directory = request.getfixturevalue(dataset)
    labels = numbered(directory, "folder")
    assert first in labels
    root = directory / "folders"
    of_torchvision = ImageFolder(str(directory / folders.split_folder(split)))
    of_timm = create_dataset("", root=str(root), split=split).reader
    mapped = create_dataset("", root=str(root), split=split, class_map=class_map(root))
    assert of_torchvision.class_to_idx == labels
    assert list(of_torchvision.class_to_idx) == list(labels)
    assert of_timm.class_to_idx == mapped.reader.class_to_idx == labels


def class_map(root):
    return str(root / "class_map.txt")


def test_names_are_numbered_as_the_labels(coarse, tmp_path):
    labels = numbered(coarse, "name")
    tfds = create_dataset("tfds/small", root=str(coarse.parent.parent))
    assert tfds.reader.class_to_idx == labels
    parquet = create_dataset(f"hfds/{coarse}/parquet", root=str(tmp_path))
    assert parquet.reader.class_to_idx == labels
    tars = reading.datasets.load_dataset(str(coarse), cache_dir=str(tmp_path))
    assert tars["train"].features["cls"].names == list(labels)


@pytest.mark.parametrize("kind", ["wds", "tfds"])
def test_timm_trains_on_the_1000_labels_of_the_same_shards(kind, coarse):
    root = coarse if kind == "wds" else coarse.parent.parent
    data = create_dataset(
        f"{kind}/small", root=str(root), split="train", target_key="fine_label"
    )
    wanted = [
        row["wnid"] for row in building.manifest(coarse) if row["split"] == "train"
    ]
    classes = building.read_json(coarse, "classes.json")
    wnid_of = {
        index: wnid
        for entry in classes
        for wnid, index in zip(entry["wnids"], entry["class_indices"], strict=True)
    }
    assert sorted(wnid_of[int(label)] for _, label in data) == sorted(wanted)


def test_group_without_validation_images_keeps_its_label(gap):
    """By default timm renumbers classes and torchvision fails; both have an option."""
    labels = numbered(gap, "folder")
    wanted = {
        row["key"]: row["label"]
        for row in building.manifest(gap)
        if row["split"] == "validation"
    }
    assert 0 not in wanted.values()
    assert len(wanted) == 25
    folder = str(gap / "folders" / "val")
    with pytest.raises(FileNotFoundError, match="n02088364"):
        ImageFolder(folder)
    assert ImageFolder(folder, allow_empty=True).class_to_idx == labels
    shifted = reading.read_timm_folders(gap, "validation", 0)
    assert {image.key: image.label + 1 for image in shifted} == wanted
    mapped = reading.read_timm_folders(
        gap, "validation", 0, class_map=class_map(gap / "folders")
    )
    assert {image.key: image.label for image in mapped} == wanted
