import shutil
import zipfile

import pytest

from transforms import layouts, records
from transforms.images import read as image_reading
from transforms.labels import validation
from transforms.layouts import kaggle_zip as layout
from transforms.records import ImageRef, UsageError

FLAT = "val/ILSVRC2012_val_00000001.JPEG"
TRAIN = "train/n01440764/n01440764_1.JPEG"


def write(path, *names, **settings):
    """Write files whose contents are their names."""
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return str(path)


def read(path):
    found = layout.find(str(path))
    return [image for piece in found.pieces for image in layout.read(piece)]


def test_what_is_found_and_what_is_left_out_is_told(kaggle_zip):
    found = layout.find(str(kaggle_zip))
    assert found.description == (
        f"zip (120 train and 30 validation files in {kaggle_zip})"
    )
    (note,) = found.notes
    assert "3 members are outside train and val and are left out (ILSVRC/A" in note


def test_labels_inside_are_those_of_flat_validation(kaggle_zip):
    labels = {(p.split, p.labels) for p in layout.find(str(kaggle_zip)).pieces}
    inside = f"{kaggle_zip}/LOC_val_solution.csv"
    assert labels == {("train", ""), ("validation", inside)}
    assert len(validation.read_labels(inside)) == 30


@pytest.mark.parametrize("top", ["", "imagenet/", "ILSVRC/Data/CLS-LOC/"])
def test_class_folders_in_any_zip(tmp_path, top):
    names = [
        TRAIN,
        FLAT,
        "validation/n01440764/ILSVRC2012_val_00000002.JPEG",
        "test/ILSVRC2012_test_00000001.JPEG",
        "train/stray.JPEG",
    ]
    path = write(tmp_path / "a.ZIP", *(f"{top}{name}" for name in names))
    refs = read(path)
    assert sorted((ref.key, ref.split, ref.wnid) for ref in refs) == [
        ("ILSVRC2012_val_00000001", "validation", ""),
        ("ILSVRC2012_val_00000002", "validation", "n01440764"),
        ("n01440764_1", "train", "n01440764"),
    ]
    for ref in refs:
        name = image_reading.read_image_bytes(str(tmp_path), ref).decode()
        assert name.endswith(f"{ref.key}.JPEG")


@pytest.mark.parametrize(
    ("name", "split"),
    [("n01440764_1", "train"), ("ILSVRC2012_val_00000001", "validation")],
)
def test_classes_without_a_split_are_of_that_of_their_names(tmp_path, name, split):
    path = write(tmp_path / "a.zip", f"n01440764/{name}.JPEG")
    found, notes = layouts.settle_splits(layout.find(path))
    (ref,) = layout.read(*found.pieces)
    assert (ref.split, ref.wnid) == (split, "n01440764")
    assert f"by the names of its images ({name})" in notes[0]


def test_directory_is_parted_among_pieces_and_flat_validation_is_not(
    kaggle_zip, monkeypatch
):
    whole = read(kaggle_zip)
    monkeypatch.setattr(layout, "_ENTRIES_PER_PIECE", 16)
    found = layout.find(str(kaggle_zip))
    assert [piece.split for piece in found.pieces] == ["validation"] + ["train"] * 8
    assert sorted(read(kaggle_zip)) == sorted(whole)
    assert len(whole) == 150


def test_strays_among_images_are_told(tmp_path):
    path = write(tmp_path / "a.zip", TRAIN, "train/n01440764/Thumbs.db")
    image, stray = read(path)
    assert isinstance(image, ImageRef)
    assert (stray.uri, stray.name) == ("a.zip", "Thumbs.db")


def test_folder_with_kaggles_zip_is_recognised_even_if_it_was_extracted(tmp_path):
    write(tmp_path / layout.KAGGLE, TRAIN)
    (tmp_path / "ILSVRC").mkdir()
    (piece,) = layout.find(str(tmp_path)).pieces
    assert piece.path == f"{tmp_path}/{layout.KAGGLE}"


@pytest.mark.parametrize("top", ["valid", "Val", "a/val.X", "ILSVRC2012_img_val"])
def test_folder_of_any_name_of_validation_is_read(tmp_path, top):
    path = write(tmp_path / "a.zip", TRAIN, f"{top}/n01440764/a.JPEG", f"{top}/b.JPEG")
    read_images = [(ref.key, ref.split, ref.wnid) for ref in read(path)]
    assert sorted(read_images) == [
        ("a", "validation", "n01440764"),
        ("b", "validation", ""),
        ("n01440764_1", "train", "n01440764"),
    ]


def test_backslashes_of_windows_separate_folders(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = TRAIN.replace("/", "\\")
        archive.writestr(info, b"image")
    (ref,) = read(path)
    assert (ref.key, ref.split, ref.wnid) == ("n01440764_1", "train", "n01440764")
    assert image_reading.read_image_bytes(str(tmp_path), ref) == b"image"


def test_zips_of_both_splits_in_one_folder(tmp_path):
    write(tmp_path / "train.zip", "n01440764/n01440764_1.JPEG")
    write(tmp_path / "val.zip", "ILSVRC2012_val_00000001.JPEG")
    splits = {ref.uri: (ref.split, ref.wnid) for ref in read(tmp_path)}
    assert splits == {
        "train.zip": ("train", "n01440764"),
        "val.zip": ("validation", ""),
    }


@pytest.mark.parametrize("top", ["test", "dev", "__MACOSX"])
def test_class_folders_of_another_split_are_no_training_images(tmp_path, top):
    path = write(tmp_path / "a.zip", TRAIN, f"{top}/n01440764/n01440764_2.JPEG")
    assert [ref.key for ref in read(path)] == ["n01440764_1"]
    (note,) = layout.find(path).notes
    assert f"1 members are outside train and val and are left out ({top}/" in note


def test_lost_entry_of_the_directory_is_an_error(tmp_path):
    path = write(tmp_path / "a.zip", TRAIN)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.rindex(b"PK\5\6") + 10] = 2
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(
        UsageError, match="1 members, not the 2 that its end record declares"
    ):
        layout.find(path)


def test_zip_of_other_things_is_no_layout(tmp_path):
    assert layout.find(write(tmp_path / "a.zip", "cats/1.JPEG", "readme.txt")) is None


def test_what_is_called_zip_and_is_none_is_an_error(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>")
    with pytest.raises(UsageError, match="not a zip, or truncated; download it again"):
        layout.find(str(tmp_path / "a.zip"))


def test_only_images_must_be_readable(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"x" * 99, zipfile.ZIP_LZMA)
        archive.writestr(TRAIN, b"x" * 99)
    assert len(read(path)) == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(TRAIN.replace("_1", "_2"), b"x" * 99, zipfile.ZIP_LZMA)
    with pytest.raises(UsageError, match="method 14, neither stored nor deflated"):
        read(path)


def test_name_that_leaves_the_archive_is_no_image(tmp_path):
    names = ("../train/n01440764/n01440764_1.JPEG", "/n01440764/n01440764_2.JPEG")
    path = write(tmp_path / "a.zip", TRAIN, *names)
    uris = {ref.uri for ref in read(path)}
    assert uris == {"a.zip"}  # names become keys, never paths


def test_archive_that_was_truncated_after_listing_is_no_crash(kaggle_zip, tmp_path):
    path = shutil.copy(kaggle_zip, tmp_path / "a.zip")
    refs = [ref for ref in read(path) if ref.location.encoding == "deflate"]
    path.write_bytes(path.read_bytes()[: refs[-1].location.offset + 10])
    with pytest.raises(records.DataError, match="bytes too early"):
        image_reading.read_image_bytes(str(tmp_path), refs[-1])


def test_sorted_names_of_a_whole_folder_decide(tmp_path, monkeypatch):
    """Those of validation images come first."""
    monkeypatch.setattr(layout, "_MAX_NAMES", 16)
    folder = "train/n01440764"
    few = [f"{folder}/ILSVRC2012_val_{n:08d}.JPEG" for n in range(30)]
    many = [f"{folder}/n01440764_{n}.JPEG" for n in range(50)]
    path = write(tmp_path / "a.zip", *few, *many)
    found = layout.find(path)
    (names,) = found.names.values()
    assert 8 <= len(names) <= 16
    settled, _ = layouts.settle_splits(found)
    assert {piece.split for piece in settled.pieces} == {"train"}
    path = write(tmp_path / "b.zip", *few, *many[:20])
    with pytest.raises(UsageError, match="its name says training images, but"):
        layouts.settle_splits(layout.find(path))
