import io
import json
import tarfile

import pytest
import webdataset

from transforms.formats import webdataset as format_
from transforms.records import Shard


def test_shard_path():
    path = format_.shard_path("tiny", Shard("train", 7, 64))
    assert path == "train/tiny-train-00007-of-00064.tar"


def test_archive_agrees_with_tarfile(records, root):
    for shard, images in records.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for record in images:
                labels = {
                    "file_name": f"{record.key}.JPEG",
                    "fine_label": record.fine_label,
                    "label": record.label,
                    "wnid": record.wnid,
                }
                for suffix, content in (
                    ("jpg", record.image),
                    ("cls", str(record.label).encode()),
                    ("json", json.dumps(labels).encode()),
                ):
                    member = tarfile.TarInfo(f"{record.key}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        path = root / format_.shard_path("tiny", shard)
        assert path.read_bytes() == file.getvalue()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_member_is_padded_to_blocks(size):
    member = format_.make_member("n01440764_1.jpg", bytes(size))
    assert len(member) == 512 * (1 + -(-size // 512))
    info = tarfile.TarInfo.frombuf(member[:512], "ascii", "strict")
    assert (info.name, info.size, info.mode) == ("n01440764_1.jpg", size, 0o644)


def test_name_that_readers_skip_is_rejected():
    format_.make_member("x" * 99, b"")
    with pytest.raises(ValueError, match="longer than 99 bytes"):
        format_.make_member("x" * 100, b"")


def test_webdataset_yields_the_records(root, by_key):
    shards = str(root / "train/tiny-train-{00000..00001}-of-00002.tar")
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == list(by_key)[:7]
    for sample in samples:
        record = by_key[sample["__key__"]]
        assert sample["cls"] == record.label
        assert sample["json"] == {
            "file_name": record.file_name,
            "fine_label": record.fine_label,
            "label": record.label,
            "wnid": record.wnid,
        }


def test_timm_finds_the_splits_in_info_json(root):
    info = json.loads((root / "_info.json").read_text())
    assert info["splits"]["train"] == {
        "name": "train",
        "num_samples": 7,
        "filenames": [
            "train/tiny-train-00000-of-00002.tar",
            "train/tiny-train-00001-of-00002.tar",
        ],
        "shard_lengths": [4, 3],
        "alt_label": "",
    }
    assert list(info["splits"]) == ["train", "validation"]
    for split in info["splits"].values():
        assert all((root / name).is_file() for name in split["filenames"])
