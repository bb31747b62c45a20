"""Test the processes that write shards, and damaged files of interrupted runs."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.dataset import manifest
from transforms.dataset import plan as dataset_plan
from transforms.dataset import shards as dataset_shards
from transforms.dataset.manifest import ManifestRow, Part
from transforms.dataset.shards import ShardSettings
from transforms.formats import parquet
from transforms.images.settings import ImageSettings
from transforms.records import Shard, UsageError, WrittenFile
from transforms.sampling import selected

SHARD = Shard("train", 0, 1)


@pytest.mark.parametrize(
    ("num_at_once", "num_shards", "num_images", "expected"),
    [
        (1, 20, 20_000, 1),
        (2, 20, 20_000, 2),
        (2, 3, 3_000, 3),  # they share two cores to the end, all three
        (16, 20, 20_000, 20),
        (16, 33, 33_000, 17),  # 2 each, none waits for the others
        (16, 100, 100_000, 17),
        (16, 130, 130_000, 16),
        (16, 4, 4_000, 4),
        (8, 1, 100_000, 1),  # by threads
        (8, 80, 400, 1),  # not worth a process
        (8, 80, 1_400, 2),
    ],
)
def test_number_of_processes_balances_work_and_start_cost(
    num_at_once, num_shards, num_images, expected
):
    found = dataset_shards.count_processes(num_at_once, num_shards, num_images)
    assert found == expected
    assert found < 2 * num_at_once or found == 1


def test_settings_reach_a_process(monkeypatch):
    settings = ShardSettings(
        root="/out/.1.0.0.partial", work="gs://bucket/work", plan_folder="plan",
        roots=["/in\nto", "s3://é"], versions={"s3://é/a.tar": "7"}, name="small",
        formats=["webdataset", "folders"], folders=["000_dog"],
        images=ImageSettings(image_size=64), num_threads=3, ticks=None,
    )  # fmt: skip
    builders = []
    monkeypatch.setattr(dataset_shards, "ShardBuilder", builders.append)
    dataset_shards.begin(
        json.loads(json.dumps(dataset_shards.settings_to_json(settings)))
    )
    assert builders == [settings]


def test_writer_that_cannot_be_opened_leaves_no_temporary_file(tmp_path):
    (tmp_path / parquet.FOLDER).touch()
    settings = ShardSettings(
        root=str(tmp_path), work=str(tmp_path), plan_folder=str(tmp_path / "plan"),
        roots=[], versions={}, name="small", formats=["webdataset", "parquet"],
        folders=["000_dog"], images=ImageSettings(image_size=64), num_threads=1,
    )  # fmt: skip
    (tmp_path / "plan").mkdir()
    no_images = selected.IMAGE_SCHEMA.empty_table()
    dataset_plan.write_part(SHARD, no_images, folder=settings.plan_folder)
    with pytest.raises(NotADirectoryError):
        dataset_shards.ShardBuilder(settings).make(SHARD)
    assert list(tmp_path.rglob(".*")) == []


@pytest.fixture
def part_file(tmp_path):
    """The path of a part in a work folder."""
    key = "n02088364_1"
    row = ManifestRow(
        key=key, split="train", wnid="n02088364", label=0, fine_label=161, shard=0,
        position=0, file="a.tar", offset=512, length=9, width=8, height=8,
        source=key, source_offset=0, source_length=9, source_sha256="0" * 64,
    )  # fmt: skip
    part = Part(
        shard=SHARD,
        files={"webdataset": (WrittenFile("a.tar", 9, "0" * 64),)},
        failures=(),
        conversions={},
        num_images=1,
    )
    manifest.write_part(str(tmp_path), part, [row])
    assert manifest.read_part(str(tmp_path), SHARD) == part
    return Path(manifest.part_path(str(tmp_path), SHARD))


def test_damaged_part_is_no_part(part_file, tmp_path):
    """A power failure can leave a file that is empty, truncated or partly zeros."""
    whole = part_file.read_bytes()
    lengths = [0, 4, 12, len(whole) // 2, len(whole) - 1]
    zeros = [whole[:n] + bytes(len(whole) - n) for n in lengths]
    for data in [whole[:n] for n in lengths] + zeros + [bytes(200) + whole[-8:]]:
        part_file.write_bytes(data)
        assert manifest.read_part(str(tmp_path), SHARD) is None
        places = {"work": str(tmp_path), "plan_folder": str(tmp_path / "plan")}
        assert dataset_shards.list_resumable("", [SHARD], **places) == []
    pq.write_table(pa.table({"key": ["of another program"]}), part_file)
    assert manifest.read_part(str(tmp_path), SHARD) is None


def test_part_that_cannot_be_opened_is_an_error(part_file, tmp_path):
    part_file.unlink()
    part_file.symlink_to(part_file)
    with pytest.raises(OSError, match="symbolic links"):
        manifest.read_part(str(tmp_path), SHARD)


def test_part_with_damaged_rows_is_written_again(part_file, tmp_path):
    whole = part_file.read_bytes()
    part_file.write_bytes(whole[:4] + bytes(400) + whole[404:])
    assert manifest.read_part(str(tmp_path), SHARD), "its footer is whole"
    places = {"work": str(tmp_path), "plan_folder": str(tmp_path / "plan")}
    assert dataset_shards.find_written_shard("", SHARD, **places) is None
    with pytest.raises(UsageError, match=rf"{re.escape(str(part_file))}: .*--resume"):
        manifest.merge_parts(str(tmp_path), [SHARD], str(tmp_path / "m.parquet"))
