"""Count the requests of a build to a bucket, which the cost estimate uses."""

from pipelines import build, index
from tests import building
from tests.stores.copying import upload

_SIDECARS = 20  # and the manifest, the preview's images: however many shards there are


def test_an_image_is_one_read_and_a_shard_few_more(faulty, mini_imagenet, tmp_path):
    bucket = "s3://photographs"
    source = upload(mini_imagenet, f"{bucket}/imagenet")
    table = tmp_path / "index.parquet"
    index.main([f"--input={source}", f"--output={table}"])
    faulty.asked.clear()
    change = {"images_per_shard": 10, "formats": "webdataset,tfrecord"}
    build.main(building.command_line(table, f"{bucket}/out", **change))
    keys = [(method, key) for method, key in faulty.asked if key]
    of_images = [m for m, key in keys if key.startswith("imagenet/")]
    # The archives of training and of validation images are those of the index.
    assert of_images == ["HEAD"] * 2 + ["GET"] * 90
    work = [m for m, key in keys if ".partial/pa" in key or ".partial/plan/" in key]
    num_shards = 9
    assert len([m for m in work if m in {"GET", "HEAD"}]) == 9 * num_shards
    assert work.count("PUT") == 2 * num_shards
    puts = [key for method, key in keys if method == "PUT" and ".partial" not in key]
    assert 2 * num_shards < len(puts) <= 2 * num_shards + _SIDECARS
