"""What verification says anew is what is written."""

import pytest

from transforms import assign, commit
from transforms.verification import opened


def test_names_of_files_are_those_that_commit_writes():
    names = ["MANIFEST", "FAILURES", "GROUPS", "RECIPE", "STATISTICS", "PREVIEW"]
    for name in [*names, "COMPLETE"]:
        assert getattr(opened, name) == getattr(commit, name)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shards_are_counted_as_they_are_dealt(split):
    for num_images in [*range(1, 900), 50_000, 50_001]:
        for most in (1, 7, 50, 64, 1000):
            counted = opened.count_shards(split, num_images, images_per_shard=most)
            assert counted == assign.count_shards(split, num_images, most)
