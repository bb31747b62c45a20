"""Test the archives of the miniature: official layout, reproducible bytes."""

import collections
import hashlib
import io
import tarfile

import pytest
from PIL import Image, ImageOps

from tests import making
from transforms.miniature import archives as miniature

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
LABELS = "LOC_val_solution.csv"
SMALL = {"num_classes": 3, "num_train": 4, "num_validation": 2}
WNIDS = miniature.CLASSES[:3]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    miniature.write_miniature(str(folder), **SMALL)
    return folder


def hash_files(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


def test_training_archive_holds_an_archive_a_class(small):
    archives = making.read_tar(small / TRAIN)
    assert list(archives) == [f"{wnid}.tar" for wnid in sorted(WNIDS)]
    for name, data in archives.items():
        wnid = name.removesuffix(".tar")
        expected = [f"{wnid}_{number}.JPEG" for number in (1, 2, 3, 4)]
        assert list(making.read_tar(data)) == expected


def test_validation_archive_is_flat_and_classes_take_turns(small):
    names = list(making.read_tar(small / VALIDATION))
    assert names == [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 7)]
    lines = (small / LABELS).read_text().splitlines()
    assert lines[0] == "ImageId,PredictionString"
    assert lines[1] == f"ILSVRC2012_val_00000001,{WNIDS[0]} 0 0 1 1"
    assert list(making.read_labels(small / LABELS).values()) == [*WNIDS, *WNIDS]


def test_every_image_is_a_jpeg_and_no_two_are_alike(small):
    images = list(making.read_tar(small / VALIDATION).values())
    for data in making.read_tar(small / TRAIN).values():
        images += making.read_tar(data).values()
    assert {Image.open(io.BytesIO(data)).format for data in images} == {"JPEG"}
    assert len(set(images)) == len(images) == 18


def test_archives_tell_no_time_and_no_owner(small):
    with tarfile.open(small / TRAIN) as tar:
        marks = {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar}
    assert marks == {(0, 0, 0, "", "")}


def test_two_runs_write_the_same_bytes(small, tmp_path):
    miniature.write_miniature(str(tmp_path / "new" / "folder"), **SMALL)
    assert hash_files(tmp_path / "new" / "folder") == hash_files(small)


def test_seed_changes_the_pictures_and_not_the_names(small, tmp_path):
    miniature.write_miniature(str(tmp_path), **SMALL, seed=1)
    ours, theirs = (making.read_tar(f / VALIDATION) for f in (tmp_path, small))
    assert list(ours) == list(theirs)
    assert not set(ours.values()) & set(theirs.values())


def test_more_training_images_leave_the_others_as_they_were(small, tmp_path):
    miniature.write_miniature(str(tmp_path), **{**SMALL, "num_train": 5})
    assert (tmp_path / VALIDATION).read_bytes() == (small / VALIDATION).read_bytes()


def test_finished_miniature_is_left_alone(tmp_path):
    for name in (TRAIN, VALIDATION, LABELS):
        (tmp_path / name).write_bytes(b"there")
    miniature.ensure_miniature(str(tmp_path), **SMALL)
    assert (tmp_path / TRAIN).read_bytes() == b"there"


@pytest.mark.parametrize("missing", [TRAIN, VALIDATION, LABELS])
def test_unfinished_miniature_is_written_again(small, tmp_path, missing):
    for name in {TRAIN, VALIDATION, LABELS} - {missing}:
        (tmp_path / name).write_bytes(b"half")
    miniature.ensure_miniature(str(tmp_path), **SMALL)
    assert hash_files(tmp_path) == hash_files(small)


@pytest.mark.parametrize("num_classes", [0, len(miniature.CLASSES) + 1])
def test_impossible_number_of_classes_is_an_error(tmp_path, num_classes):
    with pytest.raises(ValueError, match=f"num_classes={num_classes}: must be 1 to"):
        miniature.write_miniature(
            str(tmp_path), num_classes=num_classes, num_train=1, num_validation=1
        )
    assert not list(tmp_path.iterdir())


def list_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_fixtures_hold_the_same_images(
    mini_imagenet, class_folders, kaggle_tree, class_archives
):
    folders = list_tree(class_folders)
    counts = collections.Counter(name.rsplit("/", 1)[0] for name in folders)
    wnids = miniature.CLASSES[:6]
    assert counts == {f"train/{w}": 20 for w in wnids} | {f"val/{w}": 5 for w in wnids}

    images = {name.rsplit("/", 1)[1]: data for name, data in folders.items()}
    train = {n: d for n, d in images.items() if n.startswith("n")}
    val = {n: d for n, d in images.items() if not n.startswith("n")}
    assert making.read_tar(mini_imagenet / VALIDATION) == val
    archives = {path.name: path.read_bytes() for path in class_archives.iterdir()}
    assert archives == making.read_tar(mini_imagenet / TRAIN)
    held = {n: d for tar in archives.values() for n, d in making.read_tar(tar).items()}
    assert held == train

    tree = list_tree(kaggle_tree)
    assert tree.pop(LABELS) == (mini_imagenet / LABELS).read_bytes()
    root = "ILSVRC/Data/CLS-LOC"
    expected = {f"{root}/val/{n}": d for n, d in val.items()}
    expected |= {f"{root}/train/{n.split('_')[0]}/{n}": d for n, d in train.items()}
    assert tree == expected


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_fixtures_need_every_conversion(class_folders):
    files = {path.stem: path.read_bytes() for path in class_folders.rglob("*.JPEG")}
    kinds = collections.Counter()
    for key in making.CONVERSIONS:
        image = Image.open(io.BytesIO(files[key]))
        kinds[image.format, image.mode] += 1
    assert kinds == {
        ("JPEG", "CMYK"): 1,
        ("PNG", "RGB"): 1,
        ("JPEG", "L"): 2,
        ("JPEG", "RGB"): 3,
    }
    assert sum(making.GIANT_EXIF in data for data in files.values()) == 1
    assert sum(b"ICC_PROFILE" in data for data in files.values()) == 1


def test_turned_image_is_upright_once_its_orientation_is_heeded():
    image = making.picture(size=(96, 72))
    turned = Image.open(io.BytesIO(making.turned_jpeg(image)))
    assert turned.size == (72, 96)
    assert ImageOps.exif_transpose(turned).size == (96, 72)
