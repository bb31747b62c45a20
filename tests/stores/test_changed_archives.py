"""An indexed local archive that was replaced is noticed; a copied one is the same."""

import os
import shutil
import time
from pathlib import Path

import pytest

from pipelines import build, index, inputs, predict
from tests import building, making, making_models
from transforms.index import table as index_table
from transforms.index.parts import read_part
from transforms.layouts.official_archives import TRAIN
from transforms.records import UsageError
from transforms.storage import local

ARCHIVES = [
    *("mini_imagenet", "class_archives", "kaggle_zip", "huggingface_parquet"),
    *("tfds_records", "webdataset_tars"),
]
MEBIBYTE = 1 << 20


def run_index(source, output):
    index.main([f"--input={source}", f"--output={output}"])
    return index_table.read_versions(index_table.read_description(str(output)))


@pytest.mark.parametrize("layout", ARCHIVES)
def test_each_archive_has_a_version_that_moving_keeps(layout, request, tmp_path):
    source = request.getfixturevalue(layout)
    copy = tmp_path / source.name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    versions = run_index(copy, tmp_path / "index.parquet")
    files = {str(path) for path in [copy, *copy.rglob("*")] if path.is_file()}
    assert versions
    assert versions.keys() <= files
    copy.rename(tmp_path / "elsewhere")
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
    for path in versions:
        os.utime(path, (1, 1))
    inputs.check_versions("index.parquet", versions)
    for path in versions:
        data = bytearray(Path(path).read_bytes())
        data[len(data) // 3] ^= 1
        Path(path).write_bytes(data)
        with pytest.raises(UsageError, match=f"{path} changed since it was indexed"):
            inputs.check_versions("index.parquet", {path: versions[path]})
        Path(path).unlink()
        with pytest.raises(UsageError, match=f"{path} changed .* or was deleted"):
            inputs.check_versions("index.parquet", {path: versions[path]})


@pytest.mark.parametrize("job", [build, predict], ids=["build", "predict"])
def test_jobs_refuse_an_index_of_archives_that_were_packed_anew(
    job, mini_imagenet, tmp_path, capfd
):
    source = shutil.copytree(mini_imagenet, tmp_path / "in")
    made = tmp_path / "index.parquet"
    run_index(source, made)
    files = making.read_tar(source / TRAIN)
    (source / TRAIN).write_bytes(making.tar_bytes(dict(reversed(files.items()))))
    flags = building.command_line(made, tmp_path)
    if job is predict:
        making_models.write_onnx(tmp_path / "model.onnx", 2)
        making_models.write_card(tmp_path / "model.json", ["n01440764", "n01443537"])
        flags = [f"--input={made}", "--split=train", f"--output={tmp_path}/p.parquet"]
        flags += [f"--model={tmp_path}/model.onnx"]
    with pytest.raises(SystemExit) as ended:
        job.main(flags)
    assert ended.value.code == 2
    assert f"{source}/{TRAIN} changed since it was indexed" in capfd.readouterr().err


def write_large(path, sizes):
    """Write a tar of members of random bytes, several megabytes in all."""
    images = {f"{n}.JPEG": os.urandom(size) for n, size in enumerate(sizes)}
    path.write_bytes(making.tar_bytes(images))
    return images


def test_large_archive_with_one_member_replaced_is_another(tmp_path):
    """The archive's size, which is padded, and its ends may be the same."""
    path = tmp_path / "a.tar"
    images = write_large(path, [100_000] * 40)
    size, version = path.stat().st_size, local.find_version(str(path))
    images["20.JPEG"] = os.urandom(99_000)
    data = making.tar_bytes(images)
    path.write_bytes(data + bytes(size - len(data)))
    assert local.find_version(str(path)) != version


def test_large_archive_with_its_members_in_another_order_is_another(tmp_path):
    path = tmp_path / "a.tar"
    images = write_large(path, [100_000] * 40)
    version = local.find_version(str(path))
    path.write_bytes(making.tar_bytes(dict(reversed(images.items()))))
    assert local.find_version(str(path)) != version


@pytest.mark.parametrize("size", [0, 1, 96 << 10, (768 << 10) - 1, 768 << 10])
def test_small_file_is_hashed_whole(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(data := bytearray(size))
    version = local.find_version(str(path))
    for at in {*range(0, size, 14_099), *range(size)[-1:]}:
        data[at] = 1
        path.write_bytes(data)
        assert local.find_version(str(path)) != version
        data[at] = 0


def test_file_with_its_old_size_and_time_of_modification_is_another(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(local, "_SETTLED_NS", 0)
    path = tmp_path / "a"
    path.write_bytes(b"a" * 1000)
    before = path.stat()
    version = local.find_version(str(path))
    assert local.find_version(str(path)) == version
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # which ticks slowly
        path.write_bytes(b"b" * 1000)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert local.find_version(str(path)) != version


def test_version_costs_less_than_a_millisecond(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(8 * MEBIBYTE))
    local.find_version(str(path))
    start = time.thread_time()
    for _ in range(50):
        local.find_version(str(path))
    assert (time.thread_time() - start) / 50 < 1e-3


def test_archive_that_changes_while_it_is_listed_is_an_error(class_archives, tmp_path):
    source = shutil.copytree(class_archives, tmp_path / "in")
    parts = inputs.recognise([str(source)], None).parts
    part = next(part for part in parts if part.uri.endswith(".tar"))
    files = making.read_tar(Path(part.path))
    other = making.tar_bytes(dict(reversed(files.items())))

    def replace(_):
        Path(part.path).write_bytes(other)

    with pytest.raises(UsageError, match=f"{part.path}: changed while it was read"):
        read_part(0, part, replace)
