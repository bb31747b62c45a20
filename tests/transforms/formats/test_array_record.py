import random
import resource
import signal
from contextlib import contextmanager
from importlib import import_module, util

import pytest

from pipelines.building.options import BuildOptions
from transforms import formats
from transforms.formats import ShardPlace, array_record
from transforms.records import JobError, Record, Shard


def open_writer(root):
    shard = Shard("train", 0, 1)
    return array_record.ShardWriter(
        ShardPlace(root=str(root), name="tiny", folders=["000_fish"], shard=shard)
    )


def test_images_of_any_size_are_located_across_the_blocks_of_the_file(tmp_path):
    """Images of 64 KiB and more always contain a block header of the file."""
    numbers = random.Random(5)
    sizes = [1, 65_400, 65_512, 65_536, 200_000] + [
        numbers.randrange(1, 70_000) for _ in range(200)
    ]
    images = [numbers.randbytes(size) for size in sizes]
    writer = open_writer(tmp_path)
    for number, image in enumerate(images):
        writer.add(Record(f"n01440764_{number}", image, 0, 0, "n01440764"))
    (file,), locations = writer.close()
    assert (tmp_path / file.path).stat().st_size == file.num_bytes
    for image, place in zip(images, locations, strict=True):
        assert formats.read_image(str(tmp_path), place) == image
        assert place.length - len(image) in range(0, 24 * 5, 24)
    reader = import_module("array_record.python.array_record_module").ArrayRecordReader
    records = reader(str(tmp_path / file.path)).read_all()
    assert all(a in b for a, b in zip(images, records, strict=True))


def test_tfds_gives_random_access(root, by_key, dataset):
    tfds = import_module("tensorflow_datasets")
    builder = tfds.builder_from_directory(str(root / "array_record"))
    assert builder.info.features["label"].names == [x.name for x in dataset.labels]
    for split, count in (("train", 7), ("validation", 3)):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in reversed(range(count)):
            row = source[number]
            record = by_key[row["file_name"].decode().removesuffix(".JPEG")]
            assert row["label"] == record.label
            assert row["fine_label"] == record.fine_label
            assert row["wnid"].decode() == record.wnid
            assert row["image"].shape[0] == 32


def test_code_of_the_summary_runs(root):
    names: dict = {}
    exec(array_record.loading_snippet(str(root), "train"), names)
    assert names["example"]["image"].ndim == 3


@contextmanager
def full_disk():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def write(writer, image):
    writer.add(image)
    writer.close()


def test_full_disk_is_reported_and_leaves_no_file(tmp_path):
    writer = open_writer(tmp_path)
    image = Record("n01440764_1", bytes(900_000), 0, 0, "n01440764")
    with full_disk():
        with pytest.raises(JobError, match=r"array_record-00000-of-00001: cannot be"):
            write(writer, image)
        writer.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_missing_package_is_reported_before_the_build(monkeypatch, tmp_path):
    options = BuildOptions(output=str(tmp_path), formats=("array_record",))
    assert list(options.problems()) == []
    find_spec = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda n: None if n == "array_record" else find_spec(n)
    )
    (problem,) = options.problems()
    assert "--formats array_record" in problem
    assert "pip install 'imagenet-subsets[array_record]'" in problem
