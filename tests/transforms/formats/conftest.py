"""Write a tiny dataset once in all formats.

- `records`: input records by shard.
- `dataset`: facts for sidecars and card.
- `root`: directory of the dataset, as `build` writes it.
- `locations`: location of each image's bytes according to the writers, by format.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from transforms import formats, storage
from transforms.dataset import card as dataset_card
from transforms.formats import Dataset, LabelInfo, ShardPlace, SplitInfo
from transforms.records import ImageLocation, Record, Shard, WrittenFile

# Both libraries read these when they are first imported.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["HF_HUB_OFFLINE"] = "1"

FORMATS = ("array_record", "folders", "parquet", "tfrecord", "webdataset")
# The last class is not one of the 1000; the names test the quoting of sidecars.
LABELS = (
    LabelInfo(0, 'crane, "bird": 100 %', "000_crane", ("n02012849",), (134,)),
    LabelInfo(1, "no", "001_no", ("n01440764", "n01443537"), (0, 1)),
    LabelInfo(2, "#Möwe's {鴎} | ~", "002_mowe_s", ("n99999999",), (-1,)),
)
CLASSES = [(0, 134, "n02012849"), (1, 1, "n01443537"), (2, -1, "n99999999")]


class Written(NamedTuple):
    """The written dataset."""

    dataset: Dataset
    root: Path
    locations: dict[str, list[tuple[Record, ImageLocation]]]


def draw_record(number: int, split: str) -> Record:
    label, fine_label, wnid = CLASSES[number % (3 if split == "train" else 2)]
    color = (number * 31 % 256, number * 57 % 256, 80 + label)
    file = io.BytesIO()
    Image.new("RGB", (40 + number, 32), color).save(file, "JPEG", quality=90)
    stem = f"{wnid}_{number}" if split == "train" else f"ILSVRC2012_val_{number:08d}"
    return Record(stem, file.getvalue(), label, fine_label, wnid)


@pytest.fixture(scope="session")
def records() -> dict[Shard, list[Record]]:
    lengths = {("train", 0): range(4), ("train", 1): range(4, 7)}
    lengths["validation", 0] = range(1, 4)
    totals = {"train": 2, "validation": 1}
    return {
        Shard(split, number, totals[split]): [draw_record(n, split) for n in numbers]
        for (split, number), numbers in lengths.items()
    }


def write_dataset(root: Path, records: dict[Shard, list[Record]]) -> Written:
    folders = [label.folder for label in LABELS]
    files: dict[tuple[str, str], tuple[WrittenFile, ...]] = {}
    locations: dict[str, list[tuple[Record, ImageLocation]]] = {}
    for name in FORMATS:
        for shard, images in records.items():
            writer = formats.load(name).ShardWriter(
                ShardPlace(root=str(root), name="tiny", folders=folders, shard=shard)
            )
            for image in images:
                writer.add(image)
            written = writer.close()
            located = zip(images, written.locations, strict=True)
            locations.setdefault(name, []).extend(located)
            key = shard.split, name
            files[key] = files.get(key, ()) + written.files
            writer.discard()
    splits = []
    for split in ("train", "validation"):
        lengths = [len(r) for shard, r in records.items() if shard.split == split]
        splits.append(
            SplitInfo(
                name=split,
                num_images=sum(lengths),
                shard_lengths=tuple(lengths),
                files={name: files[split, name] for name in FORMATS},
            )
        )
    dataset = Dataset(
        name="tiny",
        version="1.0.0",
        subset_id="5ub5e7",
        formats=FORMATS,
        labels=LABELS,
        splits=tuple(splits),
        recipe={"grouping": "manual", "num_groups": 3, "classes": ["n02012849"]},
        statistics={"images_smaller": 0},
    )
    sidecars = dataset_card.sidecars(dataset)
    for name in FORMATS:
        sidecars |= formats.load(name).sidecars(dataset)
    for path, content in sidecars.items():
        storage.write(str(root), path, content)
    return Written(dataset, root, locations)


@pytest.fixture(scope="session")
def written(tmp_path_factory, records) -> Written:
    return write_dataset(tmp_path_factory.mktemp("out") / "tiny" / "1.0.0", records)


@pytest.fixture(scope="session")
def dataset(written) -> Dataset:
    return written.dataset


@pytest.fixture(scope="session")
def root(written) -> Path:
    return written.root


@pytest.fixture(scope="session")
def locations(written) -> dict[str, list[tuple[Record, ImageLocation]]]:
    return written.locations


@pytest.fixture
def write_again(tmp_path, records):
    """Write the same records a second time; return a checksum of every file."""

    def write() -> dict[str, str]:
        return checksums(write_dataset(tmp_path / "again", records).root)

    return write


def checksums(root: Path) -> dict[str, str]:
    return {
        path: hashlib.sha256((root / path).read_bytes()).hexdigest()
        for path in storage.list_files(str(root))
    }


@pytest.fixture(scope="session")
def by_key(records) -> dict[str, Record]:
    return {record.key: record for images in records.values() for record in images}
