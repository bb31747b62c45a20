import shutil

import pytest

from tests import making_layouts
from tests.making_layouts import LaidImage
from transforms.archives import tfrecords
from transforms.labels.image_names import NumberLabels
from transforms.layouts import tfds_records as layout
from transforms.records import UsageError

IMAGE = LaidImage("train", "n01440764", "n01440764_1", b"image")


def read(path):
    found = layout.find(str(path))
    items = [item for piece in found.pieces for item in layout.read(piece)]
    return [item for item in items if not isinstance(item, NumberLabels)]


def test_every_folder_above_the_files_gives_the_same(tfds_records):
    refs = read(tfds_records)
    assert len(refs) == 150
    for folder, prefix in (
        (tfds_records.parent, "5.1.0/"),
        (tfds_records.parents[1], "imagenet2012/5.1.0/"),
    ):
        assert read(folder) == [r._replace(uri=f"{prefix}{r.uri}") for r in refs]


def test_newest_version_is_taken(tmp_path):
    for version in ("5.9.0", "5.10.0", "5.0.0"):
        image = IMAGE._replace(key=f"n01440764_{version.split('.')[1]}")
        making_layouts.write_tfds(tmp_path / version, [image])
    assert [ref.key for ref in read(tmp_path)] == ["n01440764_10"]


def test_test_images_and_missing_files_are_told(tfds_records, tmp_path):
    folder = shutil.copytree(tfds_records, tmp_path / "copy")
    (folder / "imagenet2012-train.tfrecord-00001-of-00002").unlink()
    found = layout.find(str(folder))
    assert found.notes == (f"{folder}: the files of test are left out",)
    missing = "missing files of train: 1 of 2 (the first is number 1)"
    assert found.warnings == ((missing, True),)


def test_bytes_lie_in_the_file_as_they_are(tfds_records):
    for ref in read(tfds_records):
        offset, length, encoding = ref.location
        assert encoding == "raw"
        data = (tfds_records / ref.uri).read_bytes()[offset:][:length]
        assert data[:2] in {b"\xff\xd8", b"\x89P"}


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ({"image": b"x", "label": 0}, "has no image and file_name"),
        ({"file_name": b"n01440764_1.JPEG", "label": 0}, "has no image and file_name"),
        (
            {"file_name": b"n01440764_1.JPEG", "image": b"x", "label": 9},
            "label 9 is n01518878, and its name says n01440764",
        ),
        ({"file_name": b"a.JPEG", "image": b"x"}, "neither a label nor the name"),
        ({"file_name": b"a.JPEG", "image": b"x", "label": -1}, "the label is '-1'"),
    ],
    ids=["no name", "no image", "conflict", "no label", "test"],
)
def test_bad_record_is_an_error_with_its_place(tmp_path, features, problem):
    record = tfrecords._field(1, tfrecords._encode_features(features))
    path = tmp_path / "imagenet2012-train.tfrecord-00000-of-00001"
    path.write_bytes(tfrecords.frame(record))
    with pytest.raises(UsageError, match=rf"the record at byte 12.*{problem}"):
        read(tmp_path)


def write_labelled(folder, name, labels=None):
    """Write one validation image with label 1 and without class in its name."""
    features = {"file_name": b"a.JPEG", "image": b"x", "label": 1}
    record = tfrecords._field(1, tfrecords._encode_features(features))
    path = folder / f"{name}-validation.tfrecord-00000-of-00001"
    path.write_bytes(tfrecords.frame(record))
    if labels is not None:
        (folder / "label.labels.txt").write_text(labels)
    return folder


def test_labels_are_those_of_the_datasets_own_table(tmp_path):
    write_labelled(tmp_path, "imagewoof", "n02086240\nn02087394\n")
    (ref,) = read(tmp_path)
    assert ref.wnid == "n02087394"


@pytest.mark.parametrize(
    ("name", "labels", "problem"),
    [
        ("cifar10", None, "the label names of cifar10 are unknown"),
        ("cifar10", "cat\ndog\n", "its 2 labels are neither named by their wnids"),
        ("imagenet2012", "cat\ndog\n", "label.labels.txt: its 2 labels are neither"),
    ],
)
def test_labels_of_other_datasets_are_an_error(tmp_path, name, labels, problem):
    write_labelled(tmp_path, name, labels)
    with pytest.raises(UsageError, match=problem):
        read(tmp_path)


def test_records_of_two_datasets_or_versions_are_an_error(tmp_path):
    making_layouts.write_tfds(tmp_path / "a", [IMAGE])
    other = tmp_path / "a" / "imagenet2012-train.tfrecord-00000-of-00004"
    other.write_bytes(b"")
    with pytest.raises(UsageError, match="belong to several datasets or"):
        layout.find(str(tmp_path / "a"))
    other.rename(tmp_path / "a" / "other-train.tfrecord-00000-of-00002")
    with pytest.raises(UsageError, match=r"several datasets \(imagenet2012, other\)"):
        layout.find(str(tmp_path / "a"))
