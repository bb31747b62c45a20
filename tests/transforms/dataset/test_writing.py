"""Test the number and settings of processes that write shards."""

import json

import pytest

from transforms.dataset import shards as dataset_shards
from transforms.dataset.shards import ShardSettings
from transforms.images.settings import ImageSettings


@pytest.mark.parametrize(
    ("num_at_once", "num_shards", "num_images", "expected"),
    [
        (1, 20, 20_000, 1),
        (2, 20, 20_000, 2),
        (2, 3, 3_000, 3),  # they share two cores to the end, all three
        (16, 20, 20_000, 20),
        (16, 33, 33_000, 17),  # 2 each, none waits for the others
        (16, 100, 100_000, 17),
        (16, 130, 130_000, 16),
        (16, 4, 4_000, 4),
        (8, 1, 100_000, 1),  # by threads
        (8, 80, 400, 1),  # not worth a process
        (8, 80, 1_400, 2),
    ],
)
def test_number_of_processes_balances_work_and_start_cost(
    num_at_once, num_shards, num_images, expected
):
    found = dataset_shards.count_processes(num_at_once, num_shards, num_images)
    assert found == expected
    assert found < 2 * num_at_once or found == 1


def test_settings_reach_a_process(monkeypatch):
    settings = ShardSettings(
        root="/out/.1.0.0.partial", work="gs://bucket/work", plan_folder="plan",
        roots=["/in\nto", "s3://é"], versions={"s3://é/a.tar": "7"}, name="small",
        formats=["webdataset", "folders"], folders=["000_dog"],
        images=ImageSettings(image_size=64), num_threads=3, ticks=None,
    )  # fmt: skip
    builders = []
    monkeypatch.setattr(dataset_shards, "ShardBuilder", builders.append)
    dataset_shards.begin(
        json.loads(json.dumps(dataset_shards.settings_to_json(settings)))
    )
    assert builders == [settings]
