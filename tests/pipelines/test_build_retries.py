"""Test retries, reordering and other processes: identical bytes."""

import pytest

from pipelines import build
from tests import building
from tests.stores import conftest as stores
from tests.stores.copying import checksums
from transforms.storage import clients as store_clients

FLAGS = {"images_per_shard": 20, "formats": "webdataset,tfrecord,folders,parquet"}
BUCKET = "s3://photographs"
faulty, set_variable = stores.faulty, stores.set_variable


@pytest.fixture(scope="module")
def whole(mini_index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return building.checksums(building.run(mini_index, folder, **FLAGS))


@pytest.mark.parametrize(
    "engine",
    [
        {"direct_runner_bundle_repeat": 1},
        {"runner": "BundleBasedDirectRunner"},
        {"direct_running_mode": "multi_processing", "direct_num_workers": 2},
    ],
    ids=["bundles repeated", "bundle based", "two processes"],
)
def test_other_engines_write_the_same_bytes(mini_imagenet, tmp_path, whole, engine):
    dataset = building.run(mini_imagenet, tmp_path, **FLAGS, **engine)
    assert building.checksums(dataset) == whole


@pytest.mark.parametrize(
    ("key", "times"),
    [
        (r".*/train/small-train-00001.*\.tar", 2),
        (r".*/parts/.*", 2),
        (r".*/complete\.json", 1),  # the next try finds it
    ],
    ids=["a shard", "its part", "the commit mark"],
)
def test_bundle_that_fails_after_its_upload_is_retried(
    mini_index, whole, faulty, monkeypatch, key, times
):
    """The client does not retry, so the engine has to."""
    monkeypatch.setattr(store_clients, "_MAX_RETRIES", 0)
    faulty.fail("lost", method="PUT", key=key, times=times)
    flags = {**FLAGS, "runner": "BundleBasedDirectRunner"}
    build.main(building.command_line(mini_index, f"{BUCKET}/out", **flags))
    assert not faulty.num_waiting
    assert checksums(f"{BUCKET}/out/small/1.0.0") == whole
