"""Test the main job on real photographs."""

import collections

import pytest

from pipelines import build, verify
from tests import building
from transforms.images.settings import RESIZE_MODES

pytestmark = pytest.mark.real


def _verify(dataset):
    with pytest.raises(SystemExit) as ended:
        verify.main([str(dataset)])
    return ended.value.code


def test_tiny_imagenet_gives_twenty_groups_of_a_thousand(real_data, tmp_path, capfd):
    build.main(
        f"--input {real_data / 'tiny_imagenet'} --output {tmp_path} "
        "--grouping random_groups --num_groups 20 --images_per_group 1000 "
        "--image_size 64 --min_validation_images 5000 "
        "--formats webdataset,tfrecord".split()
    )
    dataset = tmp_path / "subset_random_groups_n20_m1000" / "1.0.0"
    rows = building.manifest(dataset)
    counts = collections.Counter(
        row["label"] for row in rows if row["split"] == "train"
    )
    assert counts == dict.fromkeys(range(20), 1000)
    assert sum(row["split"] == "validation" for row in rows) == 5050
    capfd.readouterr()
    assert _verify(dataset) == 0
    table = capfd.readouterr().out
    for reader in ("webdataset", "tf_data", "tfds", "huggingface"):
        (line,) = (line for line in table.splitlines() if f"with {reader} " in line)
        assert "| ok " in line
        assert "25050 images" in line


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_full_size_photographs_in_every_mode(real_data, tmp_path, mode):
    dataset = building.run(
        real_data / "full_size",
        tmp_path,
        num_groups=10,
        images_per_group=15,
        min_validation_images=50,
        resize_mode=mode,
        image_size=256,
        formats="webdataset,folders",
        images_per_shard=50,
    )
    assert _verify(dataset) == 0
    sizes = [(row["width"], row["height"]) for row in building.manifest(dataset)]
    assert len(sizes) == 200
    if mode == "shorter_side":
        assert {min(size) for size in sizes if min(size) >= 256} == {256}
    elif mode == "longer_side":
        assert max(max(size) for size in sizes) == 256
    elif mode in {"center_crop", "squash"}:
        assert set(sizes) == {(256, 256)}
    else:
        assert max(max(size) for size in sizes) > 1000
