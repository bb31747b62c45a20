"""Write the images of class folders in other layouts in which ImageNet is shared."""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests import making
from transforms.archives import tfrecords
from transforms.labels.classes import class_index, load_classes


class LaidImage(NamedTuple):
    """An image of the class folders."""

    split: str  # train | validation
    wnid: str
    key: str
    data: bytes

    @property
    def label(self) -> int:
        return class_index(self.wnid)


def read_class_folders(folder: Path) -> list[LaidImage]:
    """Read the fixture `class_folders` in a shuffled, reproducible order."""
    paths = sorted(folder.glob("*/*/*"), key=lambda path: path.stem[::-1])
    return [
        LaidImage(
            "validation" if path.parts[-3] == "val" else "train",
            path.parts[-2],
            path.stem,
            path.read_bytes(),
        )
        for path in paths
    ]


def parts(images: Iterable[LaidImage]) -> Iterator[tuple[str, int, int, list]]:
    """Yield (split, shard, number of shards, images); two shards for training."""
    for split, total in (("train", 2), ("validation", 1)):
        of_split = [image for image in images if image.split == split]
        for number in range(total):
            yield split, number, total, of_split[number::total]


def write_kaggle_zip(path: Path, images: Sequence[LaidImage], labels: bytes) -> Path:
    """Write Kaggle's zip: stored, deflated and unrelated members."""
    root = "ILSVRC/Data/CLS-LOC"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ILSVRC/Annotations/CLS-LOC/train/n02088364/a.xml", b"<a/>")
        archive.writestr(f"{root}/test/ILSVRC2012_test_00000001.JPEG", b"?")
        archive.writestr(f"{root}/train/", b"")
        for number, image in enumerate(images):
            folder = f"train/{image.wnid}" if image.split == "train" else "val"
            method = zipfile.ZIP_STORED if number % 3 else zipfile.ZIP_DEFLATED
            name = f"{root}/{folder}/{image.key}.JPEG"
            archive.writestr(name, image.data, compress_type=method)
        archive.writestr("LOC_val_solution.csv", labels, zipfile.ZIP_DEFLATED)
    return path


def huggingface_schema() -> pa.Schema:
    """Return the schema of ILSVRC/imagenet-1k."""
    names = [", ".join(info.lemmas) for info in load_classes()]
    label = {"names": names, "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label}
    return pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def write_huggingface(
    folder: Path, images: Sequence[LaidImage], *, row_group_size: int = 7
) -> Path:
    """Write data/train-00000-of-00002.parquet etc., and an unlabelled test split."""
    (folder / "data").mkdir(parents=True)
    for split, number, total, shard in parts(images):
        rows = [
            {
                "image": {"bytes": i.data, "path": f"{i.key}_{i.wnid}.JPEG"},
                "label": i.label,
            }
            for i in shard
        ]
        path = folder / f"data/{split}-{number:05d}-of-{total:05d}.parquet"
        table = pa.Table.from_pylist(rows, huggingface_schema())
        pq.write_table(table, path, row_group_size=row_group_size)
    (folder / "data/test-00000-of-00028.parquet").write_bytes(b"not read")
    return folder


def write_tfds(folder: Path, images: Sequence[LaidImage]) -> Path:
    """Write imagenet2012-train.tfrecord-00000-of-00002 etc."""
    folder.mkdir(parents=True)
    for split, number, total, shard in parts(images):
        name = f"imagenet2012-{split}.tfrecord-{number:05d}-of-{total:05d}"
        (folder / name).write_bytes(b"".join(map(_make_record, shard)))
    (folder / "imagenet2012-test.tfrecord-00000-of-00001").write_bytes(b"?")
    return folder


def _make_record(image: LaidImage) -> bytes:
    features = {
        "file_name": f"{image.key}.JPEG".encode(),
        "image": image.data,
        "label": image.label,
    }
    return tfrecords.frame(tfrecords._field(1, tfrecords._encode_features(features)))


def write_webdataset(folder: Path, images: Sequence[LaidImage]) -> Path:
    """Write imagenet1k-train-0000.tar etc., as timm does."""
    for split, number, _, shard in parts(images):
        members = {}
        for image in shard:
            members[f"{image.key}.cls"] = str(image.label).encode()
            members[f"{image.key}.jpg"] = image.data
            metadata = {"filename": f"{image.key}.JPEG", "label": image.label}
            members[f"{image.key}.json"] = json.dumps(metadata).encode()
        making.write_tar(folder / f"imagenet1k-{split}-{number:04d}.tar", members)
    return folder
