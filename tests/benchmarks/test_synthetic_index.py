from tests.benchmarks import synthetic_index
from transforms.index.inventory import read_inventory


def test_class_sizes_are_those_of_imagenet():
    sizes = synthetic_index.count_images()
    assert (len(sizes), sum(sizes)) == (1000, synthetic_index.NUM_TRAIN)
    assert (min(sizes), max(sizes)) == (732, 1300)
    assert sizes.count(1300) == 895


def test_builds_can_read_a_synthetic_index(tmp_path):
    """Classes beyond the official 1000 get made-up wnids."""
    path = tmp_path / "index.parquet"
    wnids = synthetic_index.list_wnids(1001)
    assert (len(set(wnids)), wnids[-1]) == (1001, "n90000000")
    num_images = synthetic_index.write_index(path, num_classes=3)
    inventory = read_inventory(str(path))
    assert (num_images, inventory.total("train")) == (53_900, 3900)
    assert inventory.roots == (synthetic_index.ROOT,)
    assert 109_000 < inventory.mean_bytes < 111_000
