import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making_chosen
from transforms import seeds
from transforms.dataset import plan as dataset_plan
from transforms.dataset.plan import assign_shards
from transforms.records import Shard


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
    assert dataset_plan.count_shards(split, num_images, images_per_shard) == num_shards


@given(num_images=st.integers(1, 5000), images_per_shard=st.integers(1, 300))
def test_shards_are_equal_within_one(num_images, images_per_shard):
    starts = dataset_plan.find_starts("validation", num_images, images_per_shard)
    sizes = [end - start for start, end in itertools.pairwise([*starts, num_images])]
    assert starts[0] == 0
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == dataset_plan.count_shards(
        "validation", num_images, images_per_shard
    )


def test_shards_are_contiguous_in_one_global_order():
    keys = [f"k{n}" for n in range(25)]
    dealt = list(assign_shards(making_chosen.make(keys), seed=5, images_per_shard=10))
    assert [shard for shard, _ in dealt] == [Shard("train", n, 3) for n in range(3)]
    assert [part.num_rows for _, part in dealt] == [9, 8, 8]
    ordered = [key for _, part in dealt for key in part["key"].to_pylist()]
    assert ordered == sorted(keys, key=lambda key: seeds.order(5, "shuffle", key))
