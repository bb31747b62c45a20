"""Test that neighbouring images in a bucket are read in few requests."""

import pyarrow.parquet as pq
import pytest

from pipelines import index, predict
from tests import making, making_layouts, making_models
from tests.stores.copying import upload
from transforms import storage
from transforms.images.read import CoalescedReader, PlacedRef
from transforms.labels.validation import KAGGLE_TABLE
from transforms.layouts.official_archives import TRAIN
from transforms.records import ByteRange, DataError, ImageRef
from transforms.storage import remote

BUCKET = "s3://photographs"
WNID = "n01440764"


@pytest.fixture
def archive(faulty, class_folders, tmp_path):  # noqa: ARG001  # the store
    """Write 150 images of one class to a tar; return the input folder."""
    images = [p.read_bytes() for p in sorted(class_folders.glob("train/*/*"))]
    files = {f"{WNID}_{n}.JPEG": images[n % len(images)] for n in range(150)}
    making.write_tar(tmp_path / "tar" / f"{WNID}.tar", files)
    return upload(tmp_path / "tar", f"{BUCKET}/tar")


def count_reads(faulty, name):
    return sum(1 for method, key in faulty.asked if method == "GET" and name in key)


def run_index(source, output, *flags):
    index.main([f"--input={source}", f"--output={output}", "--threads=2", *flags])
    return pq.read_table(output)


@pytest.mark.parametrize("least", [1, 500], ids=["processes", "threads"])
def test_inspection_reads_neighbours_together(
    archive, faulty, tmp_path, monkeypatch, least
):
    monkeypatch.setattr("transforms.processes.LEAST_IMAGES", least)
    run_index(archive, tmp_path / "plain.parquet")
    num_headers = count_reads(faulty, ".tar")
    faulty.asked.clear()
    table = run_index(archive, tmp_path / "bucket.parquet", "--inspect")
    assert count_reads(faulty, ".tar") - num_headers == 2  # windows of 128
    local = run_index(tmp_path / "tar", tmp_path / "local.parquet", "--inspect")
    assert table.num_rows == 150
    assert table.equals(local)
    assert set(table["problem"].to_pylist()) == {""}


def test_prediction_reads_neighbours_together(archive, faulty, tmp_path):
    making_models.write_onnx(tmp_path / "model.onnx", 2)
    making_models.write_card(tmp_path / "model.json", [WNID, "n01443537"])
    tables = []
    for name, source in (("bucket", archive), ("local", tmp_path / "tar")):
        run_index(source, tmp_path / f"{name}_index.parquet")
        faulty.asked.clear()
        predict.main([
            f"--input={tmp_path / f'{name}_index.parquet'}",
            "--split=train",
            f"--model={tmp_path / 'model.onnx'}",
            f"--output={tmp_path / f'{name}.parquet'}",
            "--batch_size=128",
        ])
        num_reads = count_reads(faulty, ".tar")
        assert num_reads == (2 if name == "bucket" else 0)
        tables.append(pq.read_table(tmp_path / f"{name}.parquet"))
    assert tables[0].num_rows == 150
    assert tables[0].equals(tables[1])


def make_refs(lengths, *, uri="a.tar"):
    refs, offset = [], 0
    for length in lengths:
        ref = ImageRef("k", WNID, "train", 0, uri, ByteRange(offset, length))
        refs.append(PlacedRef(BUCKET, ref))
        offset += length
    return refs


def read_all(images):
    reader, found = CoalescedReader(), []
    for read in reader.begin(images):
        try:
            found.append(read())
        except DataError as error:
            found.append(str(error))
    reader.close()
    return found


def test_a_handful_of_requests_reads_500_neighbours(faulty):
    data = bytes(range(250)) * 60_000
    faulty.objects["a.tar"] = data
    found = read_all(make_refs([30_000] * 500))
    assert len(faulty.asked) == 1
    assert b"".join(found) == data


def test_truncated_archive_loses_only_what_it_lacks(faulty):
    data = bytes(range(256)) * 4
    faulty.objects["a.tar"] = data[:500]
    found = read_all(make_refs([200, 200, 200, 200]))
    assert found[:2] == [data[:200], data[200:400]]
    assert found[2] == "the object ends 100 bytes too early"
    assert found[3] == "the object ends before the range"


def test_changed_archive_gives_no_bytes(faulty):
    faulty.objects["a.tar"] = bytes(400)
    assert remote.num_bytes(f"{BUCKET}/a.tar") == 400
    faulty.objects["a.tar"] = bytes(range(200)) * 2
    (message,) = set(read_all(make_refs([200, 200])))
    assert "has changed since it was first read" in message


@pytest.mark.usefixtures("faulty")
def test_gone_archive_is_told_of_each_image():
    assert read_all(make_refs([200, 200])) == ["the object is gone"] * 2


def test_deflated_members_are_inflated(faulty, mini_imagenet, class_folders, tmp_path):
    (tmp_path / "zip").mkdir()
    images = making_layouts.read_class_folders(class_folders)
    labels = (mini_imagenet / KAGGLE_TABLE).read_bytes()
    path = making_layouts.write_kaggle_zip(tmp_path / "zip/i.zip", images, labels)
    source = upload(tmp_path / "zip", f"{BUCKET}/zip") + "/i.zip"
    inspected = run_index(source, tmp_path / "bucket.parquet", "--inspect")
    assert inspected.equals(run_index(path, tmp_path / "local.parquet", "--inspect"))
    assert count_reads(faulty, "i.zip") < 20
    assert set(inspected["encoding"].to_pylist()) == {"raw", "deflate"}


def test_images_that_are_objects_are_read_each(faulty, mini_imagenet, tmp_path):
    wnid, data = next(iter(making.read_tar(mini_imagenet / TRAIN).items()))
    folder = tmp_path / "train" / wnid.removesuffix(".tar")
    making.write_files(folder, making.read_tar(data))
    source = upload(tmp_path / "train", f"{BUCKET}/train")
    table = run_index(source, tmp_path / "index.parquet", "--inspect")
    assert count_reads(faulty, ".JPEG") == table.num_rows
    assert storage.exists(source)
