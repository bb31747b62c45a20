"""Test PyTorch readers without validation split, with few shards, and in training."""

import collections
import math

import pytest
import webdataset
from timm.data import create_dataset
from torch.utils.data import DataLoader

from tests.torch import reading
from tests.torch.test_readers import what_it_is

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", reading.READERS)
def test_dataset_without_validation_images_gives_its_training_images(
    name, train_only, tmp_path, monkeypatch
):
    monkeypatch.setattr(reading.datasets.config, "HF_DATASETS_CACHE", tmp_path)
    wanted = map(what_it_is, reading.read_manifest(train_only, "train"))
    found = map(what_it_is, reading.READERS[name](train_only, "train", 0))
    assert collections.Counter(found) == collections.Counter(wanted)


@pytest.mark.parametrize(
    ("kind", "error"), [("wds", RuntimeError), ("tfds", ValueError)]
)
def test_split_that_was_not_written_is_an_error(kind, error, train_only):
    root = train_only if kind == "wds" else train_only.parent.parent
    with pytest.raises(error, match="validation"):
        create_dataset(f"{kind}/small", root=str(root), split="validation")


def test_webdataset_reports_a_loader_process_without_shards(single):
    shards = sorted(map(str, (single / "validation").glob("*.tar")))
    data = webdataset.WebDataset(shards, shardshuffle=False)
    with pytest.raises(ValueError, match="No samples found"):
        list(DataLoader(data, batch_size=None, num_workers=len(shards) + 1))


@pytest.mark.parametrize("kind", ["wds", "tfds"])
def test_timm_fills_its_last_training_batch_with_images_of_the_split(kind, single):
    """It repeats some images to fill batches, and uses no other split."""
    root = single if kind == "wds" else single.parent.parent
    data = create_dataset(
        f"{kind}/small", root=str(root), split="train", is_training=True, batch_size=16
    )
    data.transform = reading.to_pixels
    images = [reading.SeenImage("", int(label), pixels) for pixels, label in data]
    wanted = list(map(what_it_is, reading.read_manifest(single, "train")))
    assert len(images) == len(data) == 16 * math.ceil(len(wanted) / 16) == 96
    assert set(map(what_it_is, images)) <= set(wanted)
    if kind == "wds":  # tfds shuffles over the repetitions
        assert set(map(what_it_is, images)) == set(wanted)
