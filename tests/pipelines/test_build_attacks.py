"""Regression tests for inputs that gave wrong or seemingly finished datasets."""

import fcntl
import os
import re
import shutil
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import build, index
from tests import building, making
from transforms import storage
from transforms.dataset import paths
from transforms.dataset.manifest import check_failures
from transforms.index import table as index_table
from transforms.layouts.official_archives import TRAIN
from transforms.records import Failure, JobError

ALL = {
    "grouping": "all_classes",
    "num_groups": None,
    "images_per_group": None,
    "min_validation_images": 0,
}


@pytest.fixture
def folders(class_folders, tmp_path):
    """A copy that a test may damage."""
    copy = tmp_path / "imagenet"
    shutil.copytree(class_folders, copy)
    return copy


def _fail(capfd, code, imagenet, output, **flags):
    with pytest.raises(SystemExit) as ended:
        building.run(imagenet, output, **flags)
    err = capfd.readouterr().err
    assert ended.value.code == code
    assert not list(output.glob("small/1.0.0/**/complete.json"))
    return err


def _count(dataset):
    counts = {}
    for row in building.manifest(dataset):
        counts[row["split"]] = counts.get(row["split"], 0) + 1
    return counts


def test_all_training_images_come_before_a_larger_validation(folders, tmp_path):
    flags = {**ALL, "min_validation_images": 100, "allow_small_validation": True}
    dataset = building.run(folders, tmp_path / "out", **flags)
    assert _count(dataset) == {"train": 120, "validation": 30}


def _nest(folder):
    (folder / "train").rename(folder / "inner")
    (folder / "train").mkdir()
    (folder / "inner").rename(folder / "train" / "train")


def _flatten(folder):
    for path in list((folder / "train").glob("*/*.JPEG")):
        path.rename(folder / "train" / path.name)
    for path in (folder / "train").iterdir():
        if path.is_dir():
            path.rmdir()


def _capitalise(folder):
    (folder / "train").rename(folder / "Train")


@pytest.mark.parametrize("harm", [_nest, _capitalise])
def test_split_folder_of_another_name_is_read(folders, tmp_path, harm):
    harm(folders)
    dataset = building.run(folders, tmp_path / "out", **ALL)
    assert _count(dataset) == {"train": 120, "validation": 30}


def test_split_that_is_not_understood_is_an_error(folders, tmp_path, capfd):
    _flatten(folders)
    err = _fail(capfd, 2, folders, tmp_path / "out")
    assert "train contains no recognised images; it should contain nXXXXXXXX" in err
    assert re.search(r"it contains 120 \.JPEG files \(n02088364_1\.JPEG, ", err)


def test_archive_packed_with_its_folder_is_read(mini_imagenet, tmp_path):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    classes = making.read_tar(folder / TRAIN)
    with_folder = making.tar_bytes({
        f"./{name}": data for name, data in classes.items()
    })
    header = making.tar_bytes({"./": b""})[:512]
    (folder / TRAIN).write_bytes(header + with_folder)
    dataset = building.run(folder, tmp_path / "out")
    assert _count(dataset) == {"train": 60, "validation": 30}


def test_missing_training_images_are_an_error(folders, tmp_path, capfd):
    err = _fail(capfd, 2, folders / "val", tmp_path / "out")
    assert "--images_per_group 20: there are no training images" in err


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key", "../../evil"),
        ("key", None),
        ("uri", "../secret.JPEG"),
        ("uri", "/etc/passwd"),
        ("wnid", "../n1"),
        ("split", "test"),
        ("input", 9),
        ("offset", -1),
        ("encoding", "pickle"),
    ],
)
def test_foreign_index_is_an_error(folders, tmp_path, capfd, column, value):
    path = tmp_path / "index.parquet"
    index.main([f"--input={folders}", f"--output={path}"])
    metadata = pq.read_metadata(path).metadata
    metadata.pop(b"ARROW:schema")
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[3] = value
    number = table.schema.get_field_index(column)
    field = table.schema.field(number)
    changed = table.set_column(number, field, pa.array(values, field.type))
    pq.write_table(changed.replace_schema_metadata(metadata), path)
    err = _fail(capfd, 2, path, tmp_path / "out")
    assert f"invalid values in {column}" in err


def test_index_whose_images_moved_is_an_error(folders, tmp_path, capfd):
    path = tmp_path / "index.parquet"
    index.main([f"--input={folders}", f"--output={path}"])
    folders.rename(tmp_path / "elsewhere")
    assert "which does not exist; restore it" in _fail(capfd, 2, path, tmp_path / "out")


def test_inspection_is_kept_when_the_first_class_is_empty(folders, tmp_path):
    first = min((folders / "train").iterdir())
    for image in first.iterdir():
        image.unlink()
    (folders / "train/n02099601/n02099601_1.JPEG").write_bytes(b"x")
    path = tmp_path / "index.parquet"
    index.main([f"--input={folders}", f"--output={path}", "--inspect"])
    assert pq.read_schema(path).names == index_table.INSPECTED_SCHEMA.names
    problems = [row for row in pq.read_table(path).to_pylist() if row["problem"]]
    assert [row["key"] for row in problems] == ["n02099601_1"]


def _stop(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["_remove_others", "storage.rename_folder"])
def test_run_stopped_after_the_commit_mark_is_resumed(
    folders, tmp_path, capfd, monkeypatch, moment
):
    """Includes images that failed at first and were repaired later."""
    whole = building.run(folders, tmp_path / "whole")
    row = next(r for r in building.manifest(whole) if r["split"] == "validation")
    path = folders / row["source"]
    data = path.read_bytes()
    path.write_bytes(b"x" * len(data))
    with monkeypatch.context() as patch:
        patch.setattr(f"transforms.dataset.commit.{moment}", _stop)
        err = _fail(capfd, 130, folders, tmp_path / "out", max_failure_fraction=0.5)
    assert "with --resume to continue" in err
    path.write_bytes(data)
    assert "is unfinished; use --resume" in _fail(capfd, 2, folders, tmp_path / "out")
    resumed = building.run(folders, tmp_path / "out", resume=True)
    assert building.checksums(resumed) == building.checksums(whole)


def test_changed_images_with_the_same_names_give_another_plan(folders, tmp_path, capfd):
    dataset = building.run(folders, tmp_path)
    before = building.checksums(dataset)
    for path in folders.glob("*/*/*.JPEG"):
        path.write_bytes(making.jpeg_bytes(size=(50, 40)))
    with pytest.raises(SystemExit) as ended:
        building.run(folders, tmp_path)
    assert ended.value.code == 2
    assert "contains another dataset" in capfd.readouterr().err
    assert building.checksums(dataset) == before


def test_split_whose_images_all_fail_is_not_written(folders, tmp_path):
    for path in folders.glob("val/*/*.JPEG"):
        path.write_bytes(b"x")
    dataset = building.run(
        folders,
        tmp_path / "out",
        formats="webdataset,tfrecord",
        max_failure_fraction=0.5,
    )
    assert _count(dataset) == {"train": 60}
    assert not list(dataset.glob("**/*validation*"))
    statistics = building.read_json(dataset, "__meta__/statistics.json")
    assert statistics["totals"]["failed"] == 30


def test_dataset_without_images_is_an_error(folders, tmp_path, capfd):
    for path in folders.glob("*/*/*.JPEG"):
        path.write_bytes(b"x")
    err = _fail(capfd, 1, folders, tmp_path / "out", max_failure_fraction=1)
    assert "90 of 90 chosen images failed" in err


def test_enormous_file_is_a_failure(folders, tmp_path):
    path = folders / "train/n02088364/n02088364_1.JPEG"
    os.truncate(path, storage.MAX_RANGE_BYTES + 1)  # sparse
    dataset = building.run(folders, tmp_path / "out", **ALL, max_failure_fraction=0.1)
    assert (
        b"268435457 bytes are over the bound"
        in (dataset / "__meta__/failures.csv").read_bytes()
    )


def test_second_run_at_the_same_time_is_an_error(folders, tmp_path, capfd):
    row = "train/n02088364/n02088364_1.JPEG"
    data = (folders / row).read_bytes()
    (folders / row).write_bytes(b"x" * len(data))
    _fail(capfd, 1, folders, tmp_path / "out", **ALL)
    partial = os.open(tmp_path / "out/small/.1.0.0.partial", os.O_RDONLY)
    fcntl.flock(partial, fcntl.LOCK_EX)
    (folders / row).write_bytes(data)
    err = _fail(capfd, 2, folders, tmp_path / "out", **ALL, resume=True)
    assert "another run holds the lock on" in err
    os.close(partial)
    assert building.run(folders, tmp_path / "out", **ALL, resume=True)


def test_unrelated_folder_is_not_removed(folders, tmp_path, capfd):
    making.write_files(tmp_path / "out/small/.1.0.0.partial", {"thesis.txt": b"mine"})
    _fail(capfd, 2, folders, tmp_path / "out", resume=True)
    assert (tmp_path / "out/small/.1.0.0.partial/thesis.txt").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"output": "ftp://bucket/x"}, "neither a local path nor gs://BUCKET/"),
        ({"name": ""}, "--name : "),
        ({"dataset_version": "01.0.0"}, "--dataset_version 01.0.0: must be x.y.z"),
        (
            {"validation_labels": "/none.csv"},
            "/none.csv: no such file",
        ),
    ],
)
def test_invalid_flag_values_are_errors(folders, tmp_path, capfd, flags, expected):

    with pytest.raises(SystemExit) as ended:
        build.main(building.command_line(folders, **{"output": tmp_path, **flags}))
    assert ended.value.code == 2
    assert expected in capfd.readouterr().err


@pytest.mark.parametrize(("num_failed", "is_fine"), [(29, True), (30, False)])
def test_failure_fraction_is_the_number_that_was_typed(num_failed, is_fine):
    """0.29 * 100 is less than 29 in binary."""
    failures = [Failure("k", "train", 0, "n", "", "")] * num_failed
    check = partial(
        check_failures, failures, num_images=100, max_fraction=0.29, problem="failed"
    )
    if is_fine:
        check()
    else:
        with pytest.raises(JobError, match=r"^30 of 100 failed, more than .*0\.29"):
            check()


def test_formats_are_written_alike_in_any_order(folders, tmp_path):
    one = building.run(folders, tmp_path / "a", formats="webdataset,tfrecord")
    other = building.run(folders, tmp_path / "b", formats="tfrecord,webdataset")
    assert building.checksums(one) == building.checksums(other)
    assert all(row["file"].endswith(".tar") for row in building.manifest(one))
    assert paths.PLAN_ID not in building.checksums(one)
