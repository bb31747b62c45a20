"""Test that every PyTorch reader returns each image of the manifest once."""

import collections

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.torch import reading

pytestmark = pytest.mark.torch

# (dataset, split, loader processes): the second has more processes than shards.
CASES = [
    ("single", "train", 0),
    ("single", "validation", 3),
    ("coarse", "train", 2),
    ("coarse", "validation", 0),
]


@pytest.fixture(autouse=True)
def hugging_face_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(reading.datasets.config, "HF_DATASETS_CACHE", tmp_path)


def what_it_is(image: reading.SeenImage) -> tuple:
    assert image.pixels.dtype == np.uint8
    return image.label, image.pixels.shape, image.pixels.tobytes()


@pytest.mark.parametrize("case", CASES, ids="{0[0]} {0[1]} {0[2]}".format)
@pytest.mark.parametrize("name", reading.READERS)
def test_reader_gives_exactly_the_images_of_the_manifest(name, case, request):
    dataset, split, workers = case
    directory = request.getfixturevalue(dataset)
    wanted = {
        image.key: what_it_is(image)
        for image in reading.read_manifest(directory, split)
    }
    assert len(set(wanted.values())) == len(wanted) > 20
    found = reading.READERS[name](directory, split, workers)
    assert collections.Counter(map(what_it_is, found)) == collections.Counter(
        wanted.values()
    )
    with_key = [image for image in found if image.key]
    assert all(wanted[image.key] == what_it_is(image) for image in with_key)
    assert len(with_key) == (
        0 if workers and "timm" in name and "ds" in name else len(found)
    )


@pytest.mark.parametrize("name", reading.READERS)
def test_model_trains_a_step(name, coarse):
    images = reading.READERS[name](coarse, "train", 0)
    pixels = torch.cat([
        functional.interpolate(torch.from_numpy(image.pixels)[None] / 255, (8, 8))
        for image in images
    ])
    labels = torch.tensor([image.label for image in images])
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before = functional.cross_entropy(model(pixels), labels)
    before.backward()
    optimizer.step()
    assert functional.cross_entropy(model(pixels), labels) < before
