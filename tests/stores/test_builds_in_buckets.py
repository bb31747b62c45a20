"""Test index, build, resume and verify in emulated stores."""

import re

import pyarrow.parquet as pq
import pytest

from pipelines import build, index, predict, verify
from pipelines.building import output
from tests import building, making, making_models
from tests.stores.copying import checksums, upload
from transforms import storage
from transforms.dataset import paths
from transforms.dataset import shards as dataset_shards
from transforms.labels.validation import KAGGLE_TABLE
from transforms.records import UsageError
from transforms.verification import local_tasks, task_planning

FORMATS = "webdataset,tfrecord"


def _build(source, output, **flags):
    flags = {"formats": FORMATS, **flags}
    build.main(building.command_line(source, output, **flags))
    return f"{output}/small/1.0.0"


def _fail(capfd, source, output, **flags):
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        _build(source, output, **flags)
    return ended.value.code, capfd.readouterr().err


@pytest.mark.parametrize(
    ("store", "layout"),
    [
        ("amazon", "mini_imagenet"),
        ("google", "class_folders"),
        ("google", "kaggle_tree"),
    ],
)
def test_bucket_to_bucket_is_the_local_dataset(store, layout, local, request, capfd):
    """All bytes agree, and no other objects remain."""
    folder = request.getfixturevalue(store)
    source = upload(request.getfixturevalue(layout), f"{folder}/imagenet")
    target = _build(source, f"{folder}/out")
    assert capfd.readouterr().out.strip() == target
    assert checksums(target) == building.checksums(local(layout))
    assert {f.split("/")[1] for f in storage.list_files(f"{folder}/out")} == {"1.0.0"}
    before = checksums(f"{folder}/out")
    assert _build(source, f"{folder}/out") == target, "finished: nothing to do"
    assert checksums(f"{folder}/out") == before


def test_index_in_a_bucket_serves_a_local_build(
    amazon, mini_imagenet, local, tmp_path, capfd
):
    source = upload(mini_imagenet, f"{amazon}/imagenet")
    index.main([f"--input={source}", f"--output={amazon}/tables/index.parquet"])
    assert capfd.readouterr().out.strip() == f"{amazon}/tables/index.parquet"
    assert list(storage.list_files(f"{amazon}/tables")) == ["index.parquet"]
    built = building.run(f"{amazon}/tables/index.parquet", tmp_path, formats=FORMATS)
    assert building.checksums(built) == building.checksums(local("mini_imagenet"))


@pytest.fixture
def stopped(google, mini_imagenet, monkeypatch):
    """Stop a build in its second shard; return its output."""
    made = []
    make = dataset_shards.ShardBuilder.make

    def stop(self, shard):
        if made:
            raise OSError(5, "the machine goes down")
        made.append(shard)
        return make(self, shard)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_shards.ShardBuilder, "make", stop)
        with pytest.raises(SystemExit) as ended:
            _build(mini_imagenet, f"{google}/out")
        assert ended.value.code == 1
    return f"{google}/out"


def test_stopped_build_is_no_dataset_and_goes_on(
    stopped, mini_imagenet, local, capfd, monkeypatch
):
    target = f"{stopped}/small/1.0.0"
    assert not storage.exists(f"{target}/{paths.COMPLETE}")
    code, err = _fail(capfd, mini_imagenet, stopped)
    assert (code, "use --resume" in err) == (2, True)
    code, err = _fail(capfd, mini_imagenet, stopped, resume=True, seed=8)
    assert (code, "of another plan" in err) == (2, True)

    kept = []
    find_kept = dataset_shards.find_written_shard

    def note(*args, **settings):
        part = find_kept(*args, **settings)
        kept.append(part is not None)
        return part

    monkeypatch.setattr(dataset_shards, "find_written_shard", note)
    assert _build(mini_imagenet, stopped, resume=True) == target
    assert sum(kept) == 1
    assert checksums(target) == building.checksums(local("mini_imagenet"))
    assert not storage.exists(f"{stopped}/small/.1.0.0.partial")


def test_kept_shard_that_was_changed_is_made_again(stopped, mini_imagenet, local):
    target = f"{stopped}/small/1.0.0"
    first = next(f for f in storage.list_files(target) if f.endswith(".tar"))
    storage.write(target, first, b"damaged")
    _build(mini_imagenet, stopped, resume=True)
    assert checksums(target) == building.checksums(local("mini_imagenet"))


def test_claim_of_another_run_is_respected(google, mini_imagenet, capfd):
    storage.write(f"{google}/out/small/.1.0.0.partial", paths.PLAN_ID, b"another")
    code, err = _fail(capfd, mini_imagenet, f"{google}/out", resume=True)
    assert (code, "another plan" in err) == (2, True)


def test_only_one_of_two_plans_begins_at_once(folder, tmp_path, monkeypatch):
    """Both have found an empty output."""
    monkeypatch.setattr(output, "_check_unfinished", lambda *_, **__: None)
    place = output.Place(output=folder, name="small", version="1.0.0")
    (tmp_path / "plan.parquet").write_bytes(b"")
    with output.acquire_output(place, "first", str(tmp_path), resume=True):
        with (
            pytest.raises(UsageError, match="another run holds the lock"),
            output.acquire_output(place, "second", str(tmp_path), resume=True),
        ):
            pass
        with output.acquire_output(place, "first", str(tmp_path), resume=True):
            pass
    assert storage.read(f"{place.work}/{paths.PLAN_ID}") == b"first"


def test_objects_in_the_way_are_left_alone(google, mini_imagenet, capfd):
    storage.write(f"{google}/out/small/1.0.0", "thesis.txt", b"mine")
    code, err = _fail(capfd, mini_imagenet, f"{google}/out")
    assert (code, "is not a finished dataset" in err) == (2, True)
    assert list(storage.list_files(f"{google}/out")) == ["small/1.0.0/thesis.txt"]


def test_work_left_behind_the_mark_is_removed(google, mini_imagenet, local):
    target = upload(local("mini_imagenet"), f"{google}/out/small/1.0.0")
    plan_id = building.read_json(local("mini_imagenet"), paths.RECIPE)["plan_id"]
    work = f"{google}/out/small/.1.0.0.partial"
    storage.write(work, "plan/a.parquet", b"")
    storage.write(work, paths.PLAN_ID, plan_id.encode())
    assert _build(mini_imagenet, f"{google}/out") == target
    assert not storage.exists(work)


def test_bucket_that_is_not_there_is_a_mistake(google, mini_imagenet, capfd):
    missing = google.replace("photographs", "nobodys")
    code, err = _fail(capfd, mini_imagenet, missing)
    assert (code, f"--output {missing}" in err) == (2, True)
    code, err = _fail(capfd, f"{missing}/imagenet", google)
    assert (code, f"--input {missing}/imagenet: no such" in err) == (2, True)


def test_plan_only_goes_into_a_bucket(google, mini_imagenet, tmp_path):
    _build(mini_imagenet, f"{google}/out", plan_only=True)
    plan = building.run(mini_imagenet, tmp_path, plan_only=True, formats=FORMATS)
    found = checksums(f"{google}/out/small/1.0.0.plan")
    assert found == building.checksums(plan)


def test_settings_of_flags_reach_other_processes(
    google_address, google, mini_imagenet, monkeypatch
):
    source = upload(mini_imagenet, f"{google}/imagenet")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    index.main([
        f"--input={source}",
        f"--output={google}/index.parquet",
        f"--store_endpoint={google_address}",
        "--store_anonymous",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=1",
    ])
    assert storage.num_bytes(f"{google}/index.parquet")


def _verify(capfd, target, *flags):
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        verify.main([target, *flags])
    return ended.value.code, capfd.readouterr().out


def test_verify_proves_a_dataset_in_a_bucket(folder, local, capfd):
    target = upload(local("mini_imagenet"), f"{folder}/small/1.0.0")
    code, out = _verify(capfd, target, "--readers=tar_members,webdataset")
    assert code == 0
    assert out.count("| 90 images: bytes, labels and names") == 2
    first = next(f for f in storage.list_files(target) if f.endswith(".tar"))
    storage.remove_file(f"{target}/{first}")
    storage.write(target, "more.txt", b"")
    code, out = _verify(capfd, target, "--readers=tar_members")
    assert code == 1
    assert f"{first} is missing" in out
    assert "more.txt exists, but complete.json does not list it" in out
    assert re.search(rf"{first}: \d+ images? not read", out)


def test_verify_copies_parts_of_a_dataset_in_a_bucket(
    google, mini_imagenet, tmp_path, capfd, monkeypatch
):
    """Results are those of the local dataset, and no part has all shards."""
    flags = {"formats": f"{FORMATS},folders", "images_per_shard": 15}
    root = building.run(mini_imagenet, tmp_path, **flags)
    tar = next(root.glob("train/*00001-of*.tar"))
    tar.write_bytes(tar.read_bytes().replace(b'"label": 1', b'"label": 2'))
    target = upload(root, f"{google}/small/1.0.0")
    readers = "--readers=huggingface,image_folders,tfds"
    local_result = _verify(capfd, str(root), readers)
    assert local_result[0] == 1
    monkeypatch.setattr(task_planning, "_BYTES_PER_PART", 60_000)
    copied = []
    run_task = local_tasks.run_task
    monkeypatch.setattr(
        local_tasks,
        "run_task",
        lambda task, *rest: copied.append(task) or run_task(task, *rest),
    )
    assert _verify(capfd, target, readers) == local_result
    assert len(copied) == len(list(root.glob("validation/*.tar"))) == 2


def test_verify_of_no_dataset_is_a_mistake(google, capfd):
    with pytest.raises(SystemExit) as ended:
        verify.main([f"{google}/nothing"])
    assert ended.value.code == 2
    assert "is not a folder" in capfd.readouterr().err


def test_predictions_of_images_in_a_bucket_are_those_of_local_ones(
    google, mini_imagenet, local, tmp_path
):
    labels = making.read_labels(mini_imagenet / KAGGLE_TABLE)
    making_models.write_onnx(tmp_path / "model.onnx", 6)
    making_models.write_card(tmp_path / "model.json", sorted(set(labels.values())))
    dataset = local("mini_imagenet")
    sources = {
        "raw": (mini_imagenet, upload(mini_imagenet, f"{google}/imagenet")),
        "subset": (dataset, upload(dataset, f"{google}/small/1.0.0")),
    }
    for name, pair in sources.items():
        tables = [tmp_path / f"{name}_{number}.parquet" for number in range(2)]
        for source, table in zip(pair, tables, strict=True):
            predict.main([
                f"--input={source}",
                "--split=validation",
                f"--model={tmp_path / 'model.onnx'}",
                f"--output={table}",
            ])
        first, second = map(pq.read_table, tables)
        assert first.num_rows
        assert first.equals(second)
