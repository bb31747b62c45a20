"""Test that changed objects are reported and their bytes never mixed."""

import csv
import shutil

import pytest

from pipelines import build, index, predict
from tests import building, making, making_models
from tests.stores.copying import upload
from transforms import storage
from transforms.images import read as image_reading
from transforms.index import table as index_table
from transforms.layouts.official_archives import TRAIN, VALIDATION
from transforms.records import DataError, ImageRef, ParquetRow
from transforms.storage import remote

BUCKET = "s3://photographs"


def run_index(source, output):
    index.main([f"--input={source}", f"--output={output}"])
    return output


def read_versions(path):
    return index_table.read_versions(index_table.read_description(str(path)))


def fail(capfd, job, flags):
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        job.main(flags)
    return ended.value.code, capfd.readouterr().err


def replace(path, data):
    """Replace an object as another client would."""
    root, _, name = path.rpartition("/")
    storage.write(root, name, data)
    storage.forget_open_files()


def test_index_knows_versions_of_archives_alone(
    folder, mini_imagenet, class_folders, tmp_path
):
    source = upload(mini_imagenet, f"{folder}/archives")
    versions = read_versions(run_index(source, tmp_path / "archives.parquet"))
    assert versions.keys() == {f"{source}/{TRAIN}", f"{source}/{VALIDATION}"}
    assert all(versions.values())
    one = next((class_folders / "train").iterdir())
    source = upload(one, f"{folder}/folders/train/{one.name}").rpartition("/train")[0]
    assert read_versions(run_index(source, tmp_path / "folders.parquet")) == {}
    found = run_index(class_folders, tmp_path / "local.parquet")
    assert "versions" not in index_table.read_description(str(found))


@pytest.mark.parametrize("job", [build, predict], ids=["build", "predict"])
def test_archive_that_changed_after_it_was_indexed_is_a_mistake(
    job, folder, mini_imagenet, tmp_path, capfd
):
    source = upload(mini_imagenet, f"{folder}/imagenet")
    made = run_index(source, tmp_path / "index.parquet")
    data = bytearray(storage.read(f"{source}/{TRAIN}"))
    data[5000] ^= 1
    replace(f"{source}/{TRAIN}", bytes(data))
    flags = building.command_line(made, tmp_path)
    if job is predict:
        making_models.write_onnx(tmp_path / "model.onnx", 2)
        making_models.write_card(tmp_path / "model.json", ["n01440764", "n01443537"])
        flags = [f"--input={made}", "--split=train", f"--output={tmp_path}/p.parquet"]
        flags += [f"--model={tmp_path}/model.onnx"]
    code, err = fail(capfd, job, flags)
    assert code == 2
    assert f"{source}/{TRAIN} changed since it was indexed" in err
    assert "rebuild the index" in err


def swap_when(faulty, method, prefix, key, data):
    """Replace an object at the first request of a kind."""
    take_fault = faulty.take_fault

    def change(asked_method, asked_key):
        if asked_method == method and asked_key.startswith(prefix):
            faulty.objects[key] = data
        return take_fault(asked_method, asked_key)

    faulty.take_fault = change


def test_archive_that_changes_during_a_build_fails_its_images(faulty, mini_imagenet):
    """The new archive has the same images at other offsets."""
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    files = making.read_tar(mini_imagenet / TRAIN)
    other = making.tar_bytes(dict(reversed(files.items())))
    swap_when(faulty, "PUT", "out/", f"imagenet/{TRAIN}", other)
    flags = {"max_failure_fraction": 1, "min_validation_images": 0}
    build.main(building.command_line(source, f"{BUCKET}/out", **flags))
    made = f"{BUCKET}/out/small/1.0.0/__meta__/failures.csv"
    failures = list(csv.DictReader(storage.read(made).decode().splitlines()))
    assert len(failures) == 60, "every training image, and no other"
    reasons = {row["reason"] for row in failures}
    assert reasons == {"the object has changed since it was first read"}


def test_archive_that_changes_while_it_is_indexed_is_a_mistake(
    faulty, mini_imagenet, tmp_path, capfd
):
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    files = making.read_tar(mini_imagenet / TRAIN)
    other = making.tar_bytes(dict(reversed(files.items())))
    key = f"imagenet/{TRAIN}"
    flags = [f"--input={source}", f"--output={tmp_path}/index.parquet"]
    faulty.asked.clear()
    index.main(flags)
    num_asked = [asked_key for _, asked_key in faulty.asked].count(key)
    (tmp_path / "index.parquet").unlink()
    storage.forget_open_files()
    take_fault, asked = faulty.take_fault, []

    def change(method, asked_key):
        asked.append(asked_key)
        if asked.count(key) == num_asked - 4:  # within its class archives
            faulty.objects[key] = other
        return take_fault(method, asked_key)

    faulty.take_fault = change
    code, err = fail(capfd, index, flags)
    assert asked.count(key) >= num_asked - 4
    assert code == 2
    assert "changed" in err.splitlines()[-1]
    assert f"{source}/{TRAIN}" in err.splitlines()[-1]
    assert not (tmp_path / "index.parquet").exists()


def test_rows_of_a_changed_file_are_not_mixed(faulty, huggingface_parquet):
    name = "train-00000-of-00002.parquet"
    whole = (huggingface_parquet / "data" / name).read_bytes()
    faulty.objects[name] = whole
    version = remote.find_version(f"{BUCKET}/{name}")
    first, second = (
        ImageRef("k", "n01440764", "train", 0, name, ParquetRow(group, 0))
        for group in (0, 1)
    )
    assert image_reading.read_image_bytes(BUCKET, first, version)
    faulty.objects[name] = whole[:1000] + b"\0" + whole[1001:]
    assert image_reading.read_image_bytes(BUCKET, first, version), "it is kept"
    with pytest.raises(DataError, match="has changed since it was first read"):
        image_reading.read_image_bytes(BUCKET, second, version)
    image_reading.forget()


def test_image_that_is_longer_or_shorter_than_it_was_is_a_failure(
    google, class_folders, tmp_path
):
    """Objects of one image have no versions in the index."""
    shutil.copytree(class_folders, tmp_path / "images")
    source = upload(tmp_path / "images", f"{google}/imagenet")
    made = run_index(source, tmp_path / "index.parquet")
    keys = sorted(p.relative_to(class_folders) for p in class_folders.rglob("*.JPEG"))
    trained = [str(key) for key in keys if str(key).startswith("train")]
    shorter, longer = trained[3], trained[60]
    image = (class_folders / shorter).read_bytes()
    replace(f"{source}/{shorter}", image[:-7])
    big = (class_folders / longer).read_bytes()
    replace(f"{source}/{longer}", big[:400] + bytes(9000) + big[400:])
    flags = {"grouping": "all_classes", "num_groups": None, "images_per_group": None}
    out = building.run(
        made, tmp_path, **flags, min_validation_images=0, max_failure_fraction=0.1
    )
    failures = (out / "__meta__/failures.csv").read_text().splitlines()[1:]
    assert len(failures) == 2
    assert any("ends 7 bytes too early" in line for line in failures)
