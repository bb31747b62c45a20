import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transforms import formats, storage
from transforms.formats import ShardPlace
from transforms.records import Record, Shard

WRITTEN_HERE = ("array_record", "folders", "parquet", "tfrecord", "webdataset")
SHARD = Shard("train", 0, 1)
RECORD = Record("n01440764_1", b"\xff\xd8 image", 0, 0, "n01440764")


@pytest.fixture(params=WRITTEN_HERE)
def open_writer(request, tmp_path):
    def open_writer(shard=SHARD):
        return formats.load(request.param).ShardWriter(
            ShardPlace(
                root=str(tmp_path), name="tiny", folders=["000_fish"], shard=shard
            )
        )

    return open_writer


def test_formats_are_found():
    assert set(WRITTEN_HERE) == set(formats.FORMATS)


@pytest.mark.parametrize("name", WRITTEN_HERE)
def test_location_holds_the_image(name, root, locations):
    assert len(locations[name]) == 10
    for record, place in locations[name]:
        assert formats.read_image(str(root), place) == record.image


@pytest.mark.parametrize("name", WRITTEN_HERE)
def test_written_files_are_described_correctly(name, root, dataset):
    for split in dataset.splits:
        for file in split.files[name]:
            content = (root / file.path).read_bytes()
            assert file.num_bytes == len(content)
            assert file.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", WRITTEN_HERE)
def test_snippet_says_how_to_install_the_library(name):
    first = formats.load(name).loading_snippet("place", "train").splitlines()[0]
    assert re.fullmatch(r"(import|from) .*  # pip install [a-z-]+", first)


@pytest.mark.parametrize("name", ["array_record", "parquet", "tfrecord", "webdataset"])
def test_files_are_at_shard_path(name, records, dataset):
    paths = [file.path for split in dataset.splits for file in split.files[name]]
    assert paths == [formats.load(name).shard_path("tiny", shard) for shard in records]


def test_rewritten_files_are_identical(root, write_again):
    again = write_again()
    assert len(again) == 4 * 3 + 10 + 13
    for path, checksum in again.items():
        assert hashlib.sha256((root / path).read_bytes()).hexdigest() == checksum, path


def test_text_files_contain_no_local_path(root):
    for path in storage.list_files(str(root)):
        assert str(root).encode() not in (root / path).read_bytes()


def test_discarded_shard_leaves_no_temporary_file(open_writer, tmp_path):
    writer = open_writer()
    writer.add(RECORD)
    writer.discard()
    writer.discard()
    left = set(storage.list_files(str(tmp_path)))
    assert left <= {"folders/train/000_fish/n01440764_1.JPEG"}, "only whole images"


def test_interrupted_attempt_keeps_the_shard_of_another(open_writer, tmp_path):
    interrupted = open_writer()
    interrupted.add(RECORD)

    def write():
        writer = open_writer()
        writer.add(RECORD)
        return writer.close()

    with ThreadPoolExecutor(1) as other:  # temporary names contain the thread's id
        (file,), _ = other.submit(write).result()
    interrupted.discard()
    assert storage.describe_file(str(tmp_path), file.path) == file
    assert list(storage.list_files(str(tmp_path))) == [file.path]


def test_discard_after_close_keeps_the_shard(open_writer, tmp_path):
    writer = open_writer()
    writer.add(RECORD)
    (file,), (place,) = writer.close()
    writer.discard()
    assert list(storage.list_files(str(tmp_path))) == [file.path] == [place.file]


def test_shard_without_images_is_written(open_writer, tmp_path):
    files, locations = open_writer().close()
    assert locations == ()
    assert list(storage.list_files(str(tmp_path))) == [file.path for file in files]


def test_rewritten_shard_replaces_the_old_one(open_writer, tmp_path):
    for image in (b"\xff\xd8 longer than the other", b"\xff\xd8"):
        writer = open_writer()
        writer.add(RECORD._replace(image=image))
        _, (place,) = writer.close()
    content = Path(tmp_path, place.file).read_bytes()
    assert content[place.offset :][: place.length] == b"\xff\xd8"
    assert b"longer" not in content
