import shutil
import tarfile
from pathlib import Path

import pytest

from tests import making
from transforms import layouts
from transforms.images import read as image_reading
from transforms.input_warnings import Observation
from transforms.labels.image_names import NumberLabels
from transforms.layouts import class_archives as class_archives_layout
from transforms.layouts import class_folders as class_folders_layout
from transforms.layouts import kaggle_folders, official_archives
from transforms.records import ImageRef, SkippedFile, UsageError

FIXTURE_OF = {
    "official_archives": "mini_imagenet",
    "class_archives": "class_archives",
    "class_folders": "class_folders",
    "kaggle_folders": "kaggle_tree",
    "kaggle_zip": "kaggle_zip",
    "huggingface_parquet": "huggingface_parquet",
    "tfds_records": "tfds_records",
    "webdataset_tars": "webdataset_tars",
}


def _read(layout, path):
    found = layout.find(str(path))
    assert found is not None
    settled, _ = layouts.settle_splits(found)
    items = [(piece, item) for piece in settled.pieces for item in layout.read(piece)]
    return [item for item in items if not isinstance(item[1], NumberLabels)]


@pytest.fixture
def original_bytes(mini_imagenet: Path) -> dict[str, bytes]:
    train = making.read_tar(mini_imagenet / official_archives.TRAIN)
    files = making.read_tar(mini_imagenet / official_archives.VALIDATION)
    for data in train.values():
        files |= making.read_tar(data)
    return {Path(name).stem: data for name, data in files.items()}


def test_every_layout_has_a_fixture():
    assert set(layouts.LAYOUTS) == set(FIXTURE_OF)


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_refs_point_at_the_images_bytes(name, original_bytes, mini_imagenet, request):
    labels = making.read_labels(mini_imagenet / "LOC_val_solution.csv")
    folder = request.getfixturevalue(FIXTURE_OF[name])
    read = _read(layouts.load(name), folder)
    assert len(read) == (120 if name == "class_archives" else 150)
    for piece, ref in read:
        assert isinstance(ref, ImageRef)
        data = image_reading.read_image_bytes(piece.root, ref)
        assert data == original_bytes[ref.key]
        assert ref.split == ("validation" if "val_" in ref.key else "train")
        if "val_" not in ref.key:
            assert ref.wnid == ref.key[:9]
        elif not piece.needs_labels:
            assert ref.wnid == labels[ref.key]


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_only_one_layout_claims_an_input(name, request):
    folder = request.getfixturevalue(FIXTURE_OF[name])
    claims = [n for n in layouts.LAYOUTS if layouts.load(n).find(str(folder))]
    assert claims == [name]


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_an_empty_folder_is_no_layout(name, tmp_path):
    assert layouts.load(name).find(str(tmp_path)) is None


@pytest.mark.parametrize("inside", [".", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_tree_gives_the_same_uris_from_every_start(kaggle_tree, inside):
    whole = kaggle_folders.find(str(kaggle_tree))
    part = kaggle_folders.find(str(kaggle_tree / inside))
    assert part is not None
    assert part.pieces == whole.pieces
    assert class_folders_layout.find(str(kaggle_tree / inside)) is None


@pytest.mark.parametrize("split", ["train", "val"])
def test_one_split_folder_alone(class_folders, split):
    refs = [ref for _, ref in _read(class_folders_layout, class_folders / split)]
    expected = {"train": "train", "val": "validation"}[split]
    assert {ref.split for ref in refs} == {expected}


def test_one_archive_alone(mini_imagenet, class_archives):
    train = mini_imagenet / official_archives.TRAIN
    assert len(_read(official_archives, train)) == 120
    assert (
        len(_read(official_archives, mini_imagenet / official_archives.VALIDATION))
        == 30
    )
    one = next(class_archives.glob("*.tar"))
    assert len(_read(class_archives_layout, one)) == 20
    assert official_archives.find(str(one)) is None


def test_flat_validation_beside_class_folders_is_left_to_be_labelled(tmp_path):
    making.write_files(
        tmp_path,
        {
            "train/n01440764/n01440764_1.JPEG": b"x",
            "val/ILSVRC2012_val_00000001.JPEG": b"y",
            "test/ILSVRC2012_test_00000001.JPEG": b"z",
        },
    )
    found = class_folders_layout.find(str(tmp_path))
    refs = [ref for piece in found.pieces for ref in class_folders_layout.read(piece)]
    assert [(ref.wnid, ref.split) for ref in refs] == [
        ("n01440764", "train"),
        ("", "validation"),
    ]
    assert found.notes == (f"{tmp_path}/test is left out: its images have no labels",)


def test_what_is_no_image_is_a_stray(tmp_path):
    files = {"a.JPEG": b"x", "Thumbs.db": b"y", "._a.JPEG": b"z"}
    making.write_files(tmp_path / "train" / "n01440764", files)
    read = [ref for _, ref in _read(class_folders_layout, tmp_path)]
    assert [type(ref) for ref in read] == [SkippedFile, SkippedFile, ImageRef]


def test_folders_that_are_no_classes_are_told(tmp_path):
    making.write_files(tmp_path, {"n01440764/a.JPEG": b"x", "cats/b.JPEG": b"y"})
    found = class_folders_layout.find(str(tmp_path))
    assert found.notes == (f"{tmp_path}: not class folders, left out: cats",)


@pytest.mark.parametrize("name", ["a.b.JPEG", "a b.JPEG", "__a__.JPEG", "ä.JPEG"])
def test_name_that_cannot_be_a_key_is_observed(tmp_path, name):
    making.write_files(tmp_path / "train/n01440764", {name: b"x"})
    ((_, observed),) = _read(class_folders_layout, tmp_path)
    assert observed == Observation("no_key", f"{name!r} in n01440764")
    making.write_files(tmp_path / "unclear/n01440764", {name: b"x"})
    with pytest.raises(UsageError, match=r"cannot be keys: 1 .* rename the files"):
        _read(class_folders_layout, tmp_path / "unclear")


def test_a_training_archive_with_something_else_in_it_is_an_error(tmp_path):
    path = tmp_path / official_archives.TRAIN
    making.write_tar(path, {"n01440764.tar": making.tar_bytes({}), "x.tar": b""})
    with pytest.raises(UsageError, match=r"'x\.tar' is not a class archive"):
        official_archives.find(str(tmp_path))


def test_a_class_archive_that_is_no_tar_is_an_error(tmp_path):
    path = tmp_path / official_archives.TRAIN
    making.write_tar(path, {"n01440764.tar": b"<html>".ljust(3000)})
    with pytest.raises(UsageError, match="no tar header at byte 512"):
        _read(official_archives, tmp_path)


def test_kaggles_test_folder_is_told(kaggle_tree, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(kaggle_tree, tree)
    (tree / "ILSVRC/Data/CLS-LOC/test").mkdir()
    found = kaggle_folders.find(str(tree))
    assert "test is left out" in found.notes[0]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("n01440764_tench", "n01440764_1.JPEG"),
        ("N01440764", "n01440764_1.JPEG"),
        ("n01440764/images", "n01440764_1.JPEG"),  # Tiny ImageNet's
    ],
)
def test_class_folders_of_other_names(tmp_path, folder, name):
    making.write_files(tmp_path / "train" / folder, {name: b"x"})
    ((piece, ref),) = _read(class_folders_layout, tmp_path)
    assert (ref.key, ref.wnid) == ("n01440764_1", "n01440764")
    assert ref.uri == f"train/{folder}/{name}"
    assert image_reading.read_image_bytes(piece.root, ref) == b"x"


def test_classes_of_which_some_have_their_images_deeper(tmp_path):
    files = {"n01440764/a.JPEG": b"x", "n01443537/images/b.JPEG": b"y"}
    making.write_files(tmp_path / "train", files)
    keys = [ref.key for _, ref in _read(class_folders_layout, tmp_path)]
    assert keys == ["a", "b"]


def test_class_archives_in_capitals(tmp_path):
    data = making.tar_bytes({"n01440764_1.JPEG": b"x"})
    making.write_files(tmp_path, {"n01440764.TAR": data})
    ((_, ref),) = _read(class_archives_layout, tmp_path)
    assert (ref.split, ref.wnid) == ("train", "n01440764")


@pytest.mark.parametrize("top", ["", "train/", "./imagenet/train/"])
def test_tar_of_class_folders(tmp_path, top):
    names = [f"{w}/{w}_{n}.JPEG" for w in ("n01440764", "n01443537") for n in range(9)]
    members = {f"{top}{name}": name.encode() for name in names}
    members |= {f"{top}stray.JPEG": b"x", f"{top}n01440764/readme.txt": b"x"}
    path = making.write_tar(tmp_path / "ILSVRC2012_img_train.tar", members)
    read = [item for _, item in _read(official_archives, path)]
    refs = [item for item in read if isinstance(item, ImageRef)]
    assert {(ref.split, ref.wnid == ref.key[:9]) for ref in refs} == {("train", True)}
    for ref, name in zip(refs, names, strict=True):
        data = image_reading.read_image_bytes(str(tmp_path), ref)
        assert data == name.encode()
    outside, text = read[-2:]
    assert outside == Observation("outside_classes", f"{path.name}: {top}stray.JPEG")
    assert text == SkippedFile(path.name, f"{top}n01440764/readme.txt")


def test_tar_of_both_splits_is_an_error(tmp_path):
    names = [f"train/n01440764/n01440764_{n}.JPEG" for n in range(9)]
    names += ["test/n01440764/a.JPEG", "val/n01440764/b.JPEG"]
    making.write_tar(tmp_path / "imagenet.tar", dict.fromkeys(names, b"x"))
    with pytest.raises(UsageError, match=r"images of several splits .* extract it"):
        _read(official_archives, tmp_path)


def test_links_in_tars_are_told(tmp_path):
    path = making.write_tar(tmp_path / "n01440764.tar", {"n01440764_1.JPEG": b"x"})
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("n01440764_2.JPEG")
        member.type, member.linkname = tarfile.LNKTYPE, "n01440764_1.JPEG"
        archive.addfile(member)
    _, told, stray = (item for _, item in _read(class_archives_layout, tmp_path))
    assert told == Observation("links", "n01440764.tar: n01440764_2.JPEG")
    assert stray == SkippedFile("n01440764.tar", "n01440764_2.JPEG")
