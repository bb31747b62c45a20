"""Test that records are skipped correctly and agree with TensorFlow."""

import os
import tracemalloc

import pytest

from transforms import storage
from transforms.archives import tfrecords
from transforms.records import Record, UsageError

RECORDS = [
    Record(f"n01440764_{n}", os.urandom(300 * n), n, -1, "n01440764") for n in range(9)
]


def write(path, records=RECORDS) -> str:
    framed = (tfrecords.frame(tfrecords.encode_record(r)[0]) for r in records)
    path.write_bytes(b"".join(framed))
    return str(path)


def test_features_are_found_without_reading_images(tmp_path, monkeypatch):
    path = write(tmp_path / "a", [r._replace(image=bytes(100_000)) for r in RECORDS])
    read: list[int] = []
    real = storage.read_range
    monkeypatch.setattr(
        storage, "read_range", lambda p, at, n: read.append(n) or real(p, at, n)
    )
    reader = tfrecords.Reader(path)
    found = list(reader.read_examples())
    assert [example.integers["label"] for example in found] == list(range(9))
    assert [example.integers["fine_label"] for example in found] == [-1] * 9
    assert read == [512] * 9 + [read[-1]]  # the last one holds the last label


def test_spans_hold_the_bytes(tmp_path):
    path = write(tmp_path / "a")
    reader = tfrecords.Reader(path)
    data = (tmp_path / "a").read_bytes()
    for record, example in zip(RECORDS, reader.read_examples(), strict=True):
        image = example.spans["image"]
        assert data[image.start : image.end] == record.image
        assert example.texts["file_name"] == record.file_name
        assert example.texts["wnid"] == record.wnid


def test_what_tensorflow_writes_is_understood(tmp_path):
    tf = pytest.importorskip("tensorflow")

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        values = value if isinstance(value, list) else [value]
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    written = []
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        for number in range(20):  # a map's order is any
            values = {"image": os.urandom(5000), "label": number * 50, "x": 1.5}
            values |= {"file_name": b"a.JPEG", "boxes": [1, 2], "least": -(2**63)}
            written.append(values)
            features = tf.train.Features(
                feature={k: feature(v) for k, v in values.items()}
            )
            writer.write(tf.train.Example(features=features).SerializeToString())
    data = (tmp_path / "a").read_bytes()
    reader = tfrecords.Reader(str(tmp_path / "a"))
    for values, example in zip(written, reader.read_examples(), strict=True):
        assert example.integers == {"label": values["label"], "least": -(2**63)}
        assert example.spans.keys() == {"image", "file_name"}
        assert example.texts == {"file_name": "a.JPEG"}
        image = example.spans["image"]
        assert data[image.start : image.end] == values["image"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[:5],
        lambda data: data[:1] + b"\x7f" + data[2:],  # the length
        lambda data: data[:12] + b"\x07" + data[13:],  # a wire type that is none
        lambda data: data[:13] + b"\xff\xff\xff\x7f" + data[17:],  # beyond the record
        lambda _: b"<html>not found</html>" * 9,
    ],
    ids=["last byte", "header", "length", "wire type", "too long", "html"],
)
def test_damaged_file_is_an_error_with_its_place(tmp_path, change):
    path = write(tmp_path / "a")
    (tmp_path / "a").write_bytes(change((tmp_path / "a").read_bytes()))
    with pytest.raises(
        UsageError, match=r"a: truncated, or not .* \(at byte \d+\); dow"
    ):
        list(tfrecords.Reader(path).read_examples())


def test_empty_file_holds_nothing(tmp_path):
    assert list(tfrecords.Reader(write(tmp_path / "a", [])).read_examples()) == []


def test_long_list_is_not_held(tmp_path):
    """Half a million numbers of two bytes each would take 100 MB as fields."""
    numbers = b"\x08\x01" * 500_000
    feature = b"\x1a" + tfrecords.varint(len(numbers)) + numbers
    entry = b"\x0a\x01a\x12" + tfrecords.varint(len(feature)) + feature
    features = b"\x0a" + tfrecords.varint(len(entry)) + entry
    example = b"\x0a" + tfrecords.varint(len(features)) + features
    (tmp_path / "a").write_bytes(tfrecords.frame(example))
    tracemalloc.start()
    found = list(tfrecords.Reader(str(tmp_path / "a")).read_examples())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[0].integers == {}
    assert peak < 1_000_000
