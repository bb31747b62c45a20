import shutil
from pathlib import Path

import pytest

from tests import making
from transforms import input_warnings, layouts
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
    items = [(piece, item) for piece in found.pieces for item in layout.read(piece)]
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
    making.write_files(
        tmp_path / "n01440764", {"a.JPEG": b"x", "Thumbs.db": b"y", "._a.JPEG": b"z"}
    )
    read = [ref for _, ref in _read(class_folders_layout, tmp_path)]
    assert [type(ref) for ref in read] == [SkippedFile, SkippedFile, ImageRef]


def test_folders_that_are_no_classes_are_told(tmp_path):
    making.write_files(tmp_path, {"n01440764/a.JPEG": b"x", "cats/b.JPEG": b"y"})
    found = class_folders_layout.find(str(tmp_path))
    assert found.notes == (f"{tmp_path}: not class folders, left out: cats",)


@pytest.mark.parametrize("name", ["a.b.JPEG", "a b.JPEG", "__a__.JPEG", "ä.JPEG"])
def test_name_that_cannot_be_a_key_is_observed(tmp_path, name):
    making.write_files(tmp_path / "n01440764", {name: b"x"})
    ((_, observed),) = _read(class_folders_layout, tmp_path)
    assert observed == Observation("no_key", f"{name!r} in n01440764")
    with pytest.raises(UsageError, match=r"cannot be keys: 1 .* rename the files"):
        input_warnings.summarize([observed])


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
