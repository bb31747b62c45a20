import json
import tarfile

import pytest

from tests import making
from transforms import layouts
from transforms.input_warnings import Observation
from transforms.labels.image_names import NumberLabels
from transforms.layouts import webdataset_tars as layout
from transforms.records import SkippedFile, UsageError

KEY = "n01440764_1"
SAMPLE = {f"{KEY}.jpg": b"x", f"{KEY}.cls": b"0"}
SHARD = "imagenet1k-train-0000.tar"


def read(path):
    found = layout.find(str(path))
    items = [item for piece in found.pieces for item in layout.read(piece)]
    return [item for item in items if not isinstance(item, NumberLabels)]


def write(folder, members, name=SHARD):
    making.write_tar(folder / name, members)
    return folder


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet1k-train-0000.tar", "train"),
        ("imagenet1k-validation-00.tar", "validation"),
        ("imagenet_val_000000.tar", "validation"),
        ("train-000.tar", "train"),
        ("val0.tar", "validation"),
        ("small-fold_a-00000-of-00001.tar", "train"),
        ("train/00000.tar", "train"),
        ("val/imagenet-00000.tar", "validation"),
        ("validation/small-validation-00000-of-00001.tar", "validation"),
    ],
)
def test_split_is_told_by_file_or_folder(tmp_path, name, split):
    (ref,) = read(write(tmp_path, SAMPLE, name))
    assert (ref.key, ref.split, ref.wnid, ref.uri) == (KEY, split, "n01440764", name)


def test_one_split_folder_alone(tmp_path):
    (tmp_path / "val").mkdir()
    (ref,) = read(write(tmp_path / "val", SAMPLE, "00000.tar"))
    assert ref.split == "validation"


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("n01440764.tar", {f"{KEY}.JPEG": b"x"}),
        ("train/n01440764.tar", {f"{KEY}.JPEG": b"x"}),
        ("ILSVRC2012_img_train.tar", {"n01440764.tar": b""}),
        ("train-0.tar", {f"{KEY}.JPEG": b"x"}),
        ("other.tar", SAMPLE),
        ("test/00000.tar", SAMPLE),
    ],
    ids=["class", "class in train", "official", "no labels", "no split", "test"],
)
def test_other_archives_are_left_to_others(tmp_path, name, members):
    assert layout.find(str(write(tmp_path, members, name))) is None


@pytest.mark.parametrize(
    ("members", "key", "wnid"),
    [
        ({"a.cls": b"1\n", "a.JPG": b"x"}, "a", "n01443537"),
        ({f"d/{KEY}.jpg": b"x", f"d/{KEY}.json": b'{"label": 9}'}, KEY, "n01440764"),
        ({f"{KEY}_n01440764.jpeg": b"x", f"{KEY}_n01440764.cls": b"0"}, KEY, KEY[:9]),
        # Our own: the label is a group's.
        (
            {**SAMPLE, f"{KEY}.cls": b"7", f"{KEY}.json": b'{"wnid": "n01440764"}'},
            KEY,
            "n01440764",
        ),
    ],
    ids=["by label", "by name", "class behind", "by wnid"],
)
def test_class_is_found(tmp_path, members, key, wnid):
    (ref,) = read(write(tmp_path, members))
    assert (ref.key, ref.wnid) == (key, wnid)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ({"cls": b"1"}, "label 1 is n01443537, and its name says n01440764"),
        ({"cls": b"1000"}, "the label is '1000'"),
        ({"cls": b"fish"}, "its label cannot be read"),
        ({"cls": b"0" * 99}, "99 bytes are too many"),
        ({"json": b"{"}, "its label cannot be read"),
        ({"json": b'{"wnid": "n01443537"}'}, "it is n01443537, and its name says"),
        ({"json": b'{"wnid": 5}'}, "the label is '5', neither a wnid"),
        ({"json": b"[" * 100_000}, "its label cannot be read"),
    ],
    ids=["conflict", "range", "text", "long", "json", "two wnids", "no wnid", "deep"],
)
def test_bad_label_is_an_error_with_its_place(tmp_path, label, problem):
    members = {f"{KEY}.jpg": b"x"} | {f"{KEY}.{s}": data for s, data in label.items()}
    write(tmp_path, members)
    with pytest.raises(UsageError, match=rf"0000\.tar: {KEY}: .*{problem}"):
        read(tmp_path)


def test_image_without_any_label_is_an_error(tmp_path):
    write(tmp_path, {**SAMPLE, "a.jpg": b"x"})
    with pytest.raises(UsageError, match="a: neither a label nor the name gives"):
        read(tmp_path)


def test_what_is_no_image_is_a_stray(tmp_path):
    members = {**SAMPLE, "__meta__": b"z", "b.txt": b"w"}
    found = read(write(tmp_path, members))
    strays = [stray.name for stray in found if isinstance(stray, SkippedFile)]
    assert strays == ["__meta__", "b.txt"]


def test_links_are_never_followed(tmp_path):
    write(tmp_path, SAMPLE)
    with tarfile.open(tmp_path / SHARD, "a") as archive:
        member = tarfile.TarInfo("n01440764_2.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    image, link, stray = read(tmp_path)
    assert (image.key, stray.name) == (KEY, "n01440764_2.jpg")
    assert link == Observation("links", f"{SHARD}: n01440764_2.jpg")


def test_missing_shards_and_test_images_are_told(tmp_path):
    described = {**SAMPLE, f"{KEY}.json": json.dumps({"wnid": KEY[:9]}).encode()}
    write(tmp_path, described, "small-train-00001-of-00003.tar")
    write(tmp_path, SAMPLE, "small-test-00000.tar")
    found = layout.find(str(tmp_path))
    assert found.notes == (f"{tmp_path}: the files of test are left out",)
    missing = "missing files of train: 2 of 3 (the first is number 0)"
    assert found.warnings == ((missing, True),)


def test_truncated_shard_is_an_error(tmp_path):
    path = write(tmp_path, SAMPLE) / SHARD
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(UsageError, match="the archive is truncated"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({f"{KEY}.jpg": b"x", f"{KEY}.cls": b"n01440764\n"}, KEY),
        ({f"{KEY}.jpg": b"x", f"{KEY}.txt": b"n01440764"}, KEY),
        ({f"{KEY}.jpg": b"x", f"{KEY}.txt": b"a photograph of a fish"}, KEY),
        ({"7.jpg": b"x", "7.txt": b"n01440764"}, "7"),
        ({"7.jpg": b"x", "7.json": b'{"label": 0}'}, "7"),
        ({"7.jpg": b"x", "7.json": b'{"label": "n01440764"}'}, "7"),
        ({"7.input.jpg": b"x", "7.output.cls": b"0"}, "7"),
        ({"v1.0/7.jpg": b"x", "v1.0/7.cls": b"0"}, "7"),
    ],
    ids=["cls", "txt", "caption", "txt alone", "json", "json text", "two", "dots"],
)
def test_labels_of_other_writers(tmp_path, members, key):
    (ref,) = read(write(tmp_path, members))
    assert (ref.key, ref.wnid) == (key, "n01440764")


def test_keys_with_dots_are_an_error(tmp_path):
    names = [f"n01440764.{n}.{suffix}" for n in range(2) for suffix in ("jpg", "cls")]
    write(tmp_path, dict.fromkeys(names, b"0"))
    with pytest.raises(UsageError, match=r"n01440764 has 2 images .* the first dot"):
        read(tmp_path)


def test_several_images_in_a_sample_are_an_error(tmp_path):
    write(tmp_path, {"a.cls": b"0", "a.png": b"mask", "a.jpg": b"x"})
    message = r"0000\.tar: the sample a has 2 images \(a\.png, a\.jpg\); write one"
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "cls"])
def test_neighbouring_samples_with_one_key_are_an_error(tmp_path, suffix):
    write(tmp_path, SAMPLE)
    with tarfile.open(tmp_path / SHARD, "a") as archive:
        archive.addfile(tarfile.TarInfo(f"{KEY}.{suffix}"))
    message = rf"the key {KEY} is repeated \({KEY}\.{suffix}\)"
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("order", [("jpg", "cls"), ("cls", "jpg"), ("jpg", "json")])
def test_members_sorted_by_suffix_are_an_error(tmp_path, order):
    keys = ("n01440764_1", "n01440764_2")
    members = {f"{key}.{suffix}": b"0" for suffix in order for key in keys}
    write(tmp_path, {"n01440764_0.jpg": b"x", "n01440764_0.cls": b"0", **members})
    message = rf"n01440764_1\.{order[1]} is apart .* must follow one another"
    with pytest.raises(UsageError, match=message):
        read(tmp_path)


def test_one_shard_by_its_name(tmp_path):
    write(tmp_path, SAMPLE, "small-train-00001-of-00003.tar")
    (ref,) = read(tmp_path / "small-train-00001-of-00003.tar")
    assert (ref.uri, ref.split) == ("small-train-00001-of-00003.tar", "train")
    assert layout.find(str(tmp_path / "small-train-00001-of-00003.tar")).warnings == ()


def test_shards_without_a_split_are_of_that_of_their_names(tmp_path):
    name = "ILSVRC2012_val_00000001"
    write(tmp_path, {f"{name}.jpg": b"x", f"{name}.cls": b"0"}, "imagenet-000000.tar")
    found = layout.find(str(tmp_path))
    settled, _ = layouts.settle_splits(found)
    (piece,) = settled.pieces
    assert piece.split == "validation"
    assert piece.place == f"{tmp_path}/imagenet-*.tar"
