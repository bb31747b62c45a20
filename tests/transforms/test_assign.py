import itertools

import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from transforms import seeds
from transforms.assign import AssignShards
from transforms.records import Chosen, ImageRef
from transforms.selection import shards


@pytest.mark.parametrize(
    ("split", "num_images", "images_per_shard", "num_shards"),
    [
        ("train", 1000, 1000, 1),
        ("train", 1001, 1000, 2),
        ("train", 5, 1000, 1),
        ("validation", 10_000, 1000, 16),
        ("validation", 5050, 1000, 8),
        ("validation", 400, 1000, 8),
        ("validation", 399, 1000, 1),
        ("validation", 399, 100, 4),
    ],
)
def test_number_of_shards(split, num_images, images_per_shard, num_shards):
    assert shards.count_shards(split, num_images, images_per_shard) == num_shards


@given(
    orders=st.lists(st.integers(0, 2**63 - 1), min_size=1, unique=True),
    num_shards=st.integers(1, 9),
)
def test_shards_are_equal_within_one(orders, num_shards):
    num_shards = min(num_shards, len(orders))
    cuts = shards.find_cuts(orders, num_shards)
    bounds = [-1, *[cut - 1 for cut in cuts], 2**63]
    sizes = [
        sum(low < order <= high for order in orders)
        for low, high in itertools.pairwise(bounds)
    ]
    assert sum(sizes) == len(orders)
    assert max(sizes) - min(sizes) <= 1


def test_images_are_dealt_in_one_global_order():
    images = [
        Chosen("train", 0, ImageRef(f"k{n}", "n00000001", "train", 0, "t", 0, 1, "raw"))
        for n in range(25)
    ]

    def check(shards):
        ordered = [image for _, part in sorted(shards) for image in part]
        expected = sorted(images, key=lambda c: seeds.order(5, "shuffle", c.ref.key))
        assert ordered == expected
        assert [len(part) for _, part in sorted(shards)] == [9, 8, 8]

    with test_pipeline.TestPipeline("FnApiRunner") as root:
        assert_that(root | beam.Create(images) | AssignShards(5, 10), check)
