"""Jobs fail, and commit nothing, on an engine that loses elements."""

import re
from pathlib import Path

import pytest

from pipelines import build, confusion, engine, index, predict, verify
from tests import building, making, making_models
from tests.lossy_runner import LossyRunner
from transforms.dataset.commit import _check_counts
from transforms.dataset.manifest import Part
from transforms.dataset.plan import PlannedShard
from transforms.index import table as index_table
from transforms.records import JobError, Shard, check_all_arrived
from transforms.verification import task_planning

RUNNER = "--runner=tests.lossy_runner.LossyRunner"


def _fail(job, flags, step, capfd, monkeypatch):
    monkeypatch.setattr(LossyRunner, "loses", step)
    monkeypatch.setattr(engine, "FILES_APPEAR_S", 0)
    with pytest.raises(SystemExit) as ended:
        job.main([*flags, RUNNER])
    assert ended.value.code == 1
    out, err = capfd.readouterr()
    assert out == ""
    return err[err.index("error: ") :]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "WriteShard",
            r"the engine lost 1 of 5 shards: \w+-0000\d-of-0000\d\n"
            r"error: the dataset is not committed; run again with --resume, and "
            r"without --runner",
        ),
        ("Commit", "the engine skipped the last step, so nothing is committed"),
    ],
)
def test_build_fails(step, message, mini_imagenet, tmp_path, capfd, monkeypatch):
    flags = building.command_line(mini_imagenet, tmp_path)
    assert re.search(message, _fail(build, flags, step, capfd, monkeypatch))
    assert not list(tmp_path.glob("**/complete.json"))
    assert not (tmp_path / "small" / "1.0.0").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("RankForValidation", r"the engine lost \d of \d row groups of the index: \d"),
        ("RankForSample", r"the engine lost \d of \d row groups of the index: \d"),
        ("ReadSelected", r"the engine lost \d of \d row groups of the index: \d"),
        ("WritePlan", "the engine lost the plan"),
    ],
)
def test_planning_fails(step, message, mini_imagenet, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(index_table, "ROW_GROUP_IMAGES", 50)
    # Planning uses the embedded engine, whatever the flags say.
    monkeypatch.setattr(engine, "use_embedded_runner", lambda flags: flags)
    index.main([f"--input={mini_imagenet}", f"--output={tmp_path}/index.parquet"])
    capfd.readouterr()
    flags = building.command_line(tmp_path / "index.parquet", tmp_path / "out")
    assert re.search(message, _fail(build, flags, step, capfd, monkeypatch))
    assert not list(tmp_path.glob("out/small/*"))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("ReadPieces", r"the engine lost \d+ of \d+ parts of the input: \S+/n\d{8}"),
        ("MergeParts", "the engine skipped the last step"),
    ],
)
def test_index_fails_and_the_old_one_is_not_mistaken_for_new(
    step, message, class_archives, mini_index, tmp_path, capfd, monkeypatch
):
    path = tmp_path / "index.parquet"
    old = Path(mini_index).read_bytes()
    path.write_bytes(old)
    flags = [f"--input={class_archives}", f"--output={path}"]
    assert re.search(message, _fail(index, flags, step, capfd, monkeypatch))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def predict_flags(mini_imagenet, tmp_path):
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    wnids = sorted(set(labels.values()))
    making_models.write_onnx(tmp_path / "m.onnx", len(wnids))
    making_models.write_card(tmp_path / "m.json", wnids)
    return [
        f"--input={mini_imagenet}",
        "--split=validation",
        f"--model={tmp_path}/m.onnx",
        f"--output={tmp_path}/p.parquet",
    ]


def test_predict_and_confusion_fail(predict_flags, tmp_path, capfd, monkeypatch):
    error = _fail(predict, predict_flags, "WriteParts", capfd, monkeypatch)
    assert "the engine lost 1 of 1 chunks of images: 0\nerror: no table" in error
    assert not (tmp_path / "p.parquet").exists()
    predict.main(predict_flags)
    capfd.readouterr()
    flags = [f"--predictions={tmp_path}/p.parquet", f"--output={tmp_path}/c"]
    error = _fail(confusion, flags, "CountParts", capfd, monkeypatch)
    assert re.search(r"lost 1 of 1 parts .*\n.*: no matrix is written", error)
    assert not list(tmp_path.glob("c/*"))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("RunTask", r"the engine lost 1 of \d parts of the dataset: \d\n"),
        ("WriteNumbers", "the engine skipped the last step"),
    ],
)
def test_verify_fails(step, message, mini_imagenet, tmp_path, capfd, monkeypatch):
    dataset = building.run(mini_imagenet, tmp_path, images_per_shard=10)
    capfd.readouterr()
    monkeypatch.setattr(task_planning, "_IMAGES_PER_PART", 30)
    flags = [str(dataset), "--readers=tar_members", f"--work={tmp_path}/work"]
    assert re.search(message, _fail(verify, flags, step, capfd, monkeypatch))
    assert not list(tmp_path.glob("work/*"))


def test_shard_with_fewer_images_than_planned_is_named():
    shard = Shard("train", 0, 1)
    part = Part(shard=shard, files={}, failures=[], conversions={}, num_images=4)
    _check_counts([part], [PlannedShard(shard, 4)])
    with pytest.raises(JobError, match="train-00000-of-00001 has 4 images and 0 fail"):
        _check_counts([part], [PlannedShard(shard, 5)])


def test_lost_and_repeated_elements_are_named():
    check_all_arrived("ba", "ab", what="shards", remedy="again")
    with pytest.raises(JobError) as caught:
        check_all_arrived("aac", "abc", what="shards", remedy="again")
    assert str(caught.value) == (
        "the engine lost 1 of 3 shards: b\nthe engine repeated 1 of 3 shards: a\nagain"
    )
