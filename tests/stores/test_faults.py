"""Test storage faults: identical bytes, or a clear error."""

import itertools

import pytest

from pipelines import build
from tests import building
from tests.stores.copying import checksums, upload
from transforms import storage
from transforms.dataset import manifest, paths
from transforms.records import DataError, Shard
from transforms.storage import clients as store_clients

BUCKET = "s3://photographs"
FAULTS = [500, 503, 429, "reset", "short", "slow"]
SMALL = {"num_groups": 2, "images_per_group": 10, "min_validation_images": 10}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Give up after three tries, and after two seconds without a byte."""
    monkeypatch.setattr(store_clients, "_MAX_RETRIES", 3)
    monkeypatch.setattr(store_clients, "REQUEST_TIMEOUT_S", 1.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_read_that_fails_once_is_tried_again(faulty, fault):
    faulty.objects["image"] = bytes(range(200))
    faulty.fail(fault, key="image")
    assert storage.read_range(f"{BUCKET}/image", 10, 100) == bytes(range(10, 110))
    assert not faulty.num_waiting


@pytest.mark.parametrize("fault", [503, "reset"])
def test_a_put_that_fails_once_is_tried_again(faulty, fault):
    faulty.fail(fault, method="PUT")
    storage.write(BUCKET, "file", b"12345")
    assert faulty.objects == {"file": b"12345"}
    assert not faulty.num_waiting


@pytest.mark.parametrize("fault", [503, "reset", "slow", "lost"])
def test_a_claim_that_fails_once_is_made_once(faulty, fault):
    faulty.fail(fault, method="PUT")
    assert storage.create(BUCKET, "claim", b"ours")
    assert not faulty.num_waiting
    assert not storage.create(BUCKET, "claim", b"theirs")
    assert faulty.objects == {"claim": b"ours"}


def test_a_store_that_stays_busy_is_an_error_not_damage(faulty):
    faulty.objects["416"] = bytes(200)
    faulty.fail(503, times=99)
    with pytest.raises(OSError, match="503") as error:
        storage.read_range(f"{BUCKET}/416", 0, 100)
    assert error.value.filename == f"{BUCKET}/416"


def test_a_part_that_cannot_be_read_is_not_taken_for_damaged(faulty):
    shard = Shard("train", 0, 1)
    faulty.objects[manifest.part_path("w", shard)] = bytes(200)
    assert manifest.read_part(f"{BUCKET}/w", shard) is None
    faulty.fail(503, times=99)
    with pytest.raises(OSError, match="503"):
        manifest.read_part(f"{BUCKET}/w", shard)
    faulty.denied = "GET"
    with pytest.raises(PermissionError):
        manifest.read_part(f"{BUCKET}/w", shard)


def test_no_permission_is_said_so(faulty):
    faulty.denied = "GET"
    faulty.objects["image"] = bytes(200)
    with pytest.raises(PermissionError, match="no permission"):
        storage.read_range(f"{BUCKET}/image", 0, 100)


def test_missing_object_is_missing_where_nothing_may_be_listed(faulty):
    faulty.fail(403, key="")
    assert not storage.is_file(f"{BUCKET}/image")


def test_a_changed_object_is_damage(faulty):
    faulty.objects["image"] = bytes(200)
    assert storage.num_bytes(f"{BUCKET}/image") == 200
    faulty.objects["image"] = bytes(range(200))
    with pytest.raises(DataError, match="has changed since it was first read"):
        storage.read_range(f"{BUCKET}/image", 0, 100)


def test_listing_goes_on_behind_each_page(faulty):
    faulty.page = 7
    faulty.objects |= {f"many/{number:03}": b"" for number in range(50)}
    faulty.fail(503)
    names = [entry.name for entry in storage.list_folder(f"{BUCKET}/many")]
    assert names == [f"{number:03}" for number in range(50)]


def test_a_build_among_faults_has_the_same_bytes(faulty, mini_imagenet, tmp_path):
    flags = {"formats": "webdataset,folders", "images_per_shard": 5}
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    kinds = [*FAULTS, "lost"]
    faulty.storm = itertools.cycle(
        fault for kind in kinds for fault in (*[None] * 9, kind)
    )
    faulty.asked.clear()
    build.main(building.command_line(source, f"{BUCKET}/out", **flags))
    faulty.storm = iter(())
    assert len(faulty.asked) >= 300
    assert {kind for _, kind in faulty.met} == set(kinds)
    local = building.run(mini_imagenet, tmp_path, **flags)
    assert checksums(f"{BUCKET}/out/small/1.0.0") == building.checksums(local)


def test_a_build_whose_store_refuses_writes_is_no_dataset(faulty, mini_imagenet, capfd):
    faulty.fail(503, method="PUT", key=".*/train/.*", times=999)
    with pytest.raises(SystemExit) as ended:
        build.main(building.command_line(mini_imagenet, f"{BUCKET}/out", **SMALL))
    assert ended.value.code == 1
    err = capfd.readouterr().err
    assert "503" in err.splitlines()[-1]
    assert not storage.exists(f"{BUCKET}/out/small/1.0.0/{paths.COMPLETE}")


def test_a_build_into_a_bucket_without_permission_is_a_mistake(
    faulty, mini_imagenet, capfd
):
    faulty.denied = "PUT"
    with pytest.raises(SystemExit) as ended:
        build.main(building.command_line(mini_imagenet, f"{BUCKET}/out", **SMALL))
    assert ended.value.code == 2
    assert "is not writable" in capfd.readouterr().err
