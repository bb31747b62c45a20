import json
from importlib import import_module

import numpy as np
import pytest

from tests.transforms.formats.conftest import write_dataset
from transforms.formats import tfrecord
from transforms.records import Shard
from transforms.verification.readers import tfds as tfds_reader


@pytest.fixture(scope="module")
def tf():
    return import_module("tensorflow")


@pytest.fixture(scope="module")
def tfds():
    return import_module("tensorflow_datasets")


def test_shard_path():
    path = tfrecord.shard_path("tiny", Shard("fold_a", 3, 64))
    assert path == "__tfds__/tiny-fold_a.tfrecord-00003-of-00064"


def test_tf_data_reads_checksums_and_examples(tf, root, records):
    for shard, images in records.items():
        path = str(root / tfrecord.shard_path("tiny", shard))
        for data, record in zip(tf.data.TFRecordDataset(path), images, strict=True):
            features = {
                "image": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[record.image])
                ),
                "label": int64(tf, record.label),
                "fine_label": int64(tf, record.fine_label),
                "wnid": text(tf, record.wnid),
                "file_name": text(tf, f"{record.key}.JPEG"),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            assert data.numpy() == example.SerializeToString(deterministic=True)


def int64(tf, value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def text(tf, value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def test_tfds_opens_the_directory(tfds, root, dataset, records, by_key):
    builder = tfds.builder_from_directory(str(root))
    assert builder.info.features["label"].names == [x.name for x in dataset.labels]
    assert builder.info.metadata == {"recipe": dataset.recipe, "subset_id": "5ub5e7"}
    assert builder.info.supervised_keys == ("image", "label")
    splits = builder.info.splits
    assert splits["train"].shard_lengths == [4, 3]
    assert splits["validation"].num_examples == 3
    for split in ("train", "validation"):
        wanted = [
            r for shard, rs in records.items() if shard.split == split for r in rs
        ]
        found = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert [x["file_name"].decode() for x in found] == [r.file_name for r in wanted]
        for example, record in zip(found, wanted, strict=True):
            assert example["label"] == record.label
            assert example["fine_label"] == record.fine_label
            assert example["wnid"].decode() == record.wnid
            assert example["image"].shape == (32, 40 + number(record), 3)
    part = tfds.as_numpy(builder.as_dataset(split="train[4:6]"))
    assert [x["file_name"].decode() for x in part] == [
        f"{key}.JPEG" for key in list(by_key)[4:6]
    ]


@pytest.mark.parametrize("is_first_present", [True, False])
def test_verify_reads_shards_without_images(records, tmp_path, is_first_present):
    shards = dict(records)
    shards[Shard("train", 1, 2)] = []
    first = Shard("train", 0, 2)
    write_dataset(tmp_path, shards)
    if not is_first_present:
        (tmp_path / tfrecord.shard_path("tiny", first)).unlink()
        del shards[first]
    images = list(tfds_reader.read_images(str(tmp_path), ()))
    expected = [record.key for images in shards.values() for record in images]
    assert [image.key for image in images] == expected


def number(record):
    return int(record.key.rsplit("_", 1)[1])


def test_tfds_load_finds_it_by_name(tfds, root):
    data = tfds.load("tiny", data_dir=str(root.parent.parent), split="train")
    assert len(data) == 7


def test_features_are_as_tfds_itself_writes_them(tfds, root, dataset, tmp_path):
    features = tfds.features
    features.FeaturesDict({
        "image": features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "label": features.ClassLabel(names=[label.name for label in dataset.labels]),
        "fine_label": features.Scalar(np.int64),
        "wnid": features.Text(),
        "file_name": features.Text(),
    }).save_config(str(tmp_path))
    ours, theirs = (
        json.loads((folder / "features.json").read_text())
        for folder in (root, tmp_path)
    )
    theirs["featuresDict"]["features"]["fine_label"]["pythonClassName"] = (
        "tensorflow_datasets.core.features.tensor_feature.Tensor"
    )
    assert ours == theirs


def test_dataset_info_counts_bytes(root, dataset):
    info = json.loads((root / "dataset_info.json").read_text())
    sizes = [int(split["numBytes"]) for split in info["splits"]]
    assert sizes == [
        sum((root / file.path).stat().st_size for file in split.files["tfrecord"])
        for split in dataset.splits
    ]


def test_reserved_names_are_those_of_tfds(tfds):
    assert tfrecord.reserved_names() == frozenset(tfds.list_builders())


@pytest.mark.parametrize(
    "name", ["tiny", "subset_random_classes_n200_m500", "my_cifar10", "a", "x" * 100]
)
def test_valid_name_is_accepted(name):
    assert tfrecord.name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("in-100", "use a-z, 0-9 and _"),
        ("Tiny", "use a-z, 0-9 and _"),
        ("100_classes", "a letter first"),
        ("_tiny", "a letter first"),
        ("tiny\n", "use a-z, 0-9 and _"),
        ("", "use a-z, 0-9 and _"),
        ("../tiny", "use a-z, 0-9 and _"),
        ("x" * 101, "at most 100 characters"),
        ("imagenette", "try my_imagenette"),
        ("cifar100", "try my_cifar100"),
    ],
)
def test_invalid_name_is_rejected_with_a_remedy(name, problem):
    assert problem in tfrecord.name_problem(name)
