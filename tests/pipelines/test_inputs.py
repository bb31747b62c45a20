"""Test which images of an input are read, what is left out, and the messages."""

import re
import shutil
import zipfile
from collections import Counter

import pytest

from pipelines import inputs
from tests import building, making, making_layouts
from transforms import input_warnings, layouts
from transforms.index import parts as index_parts
from transforms.records import UsageError

CLASSES = ("n01440764", "n01443537")
TRAIN = {f"{w}/{w}_{n}.JPEG": b"x" for w in CLASSES for n in range(3)}
VALIDATION = {
    f"{w}/ILSVRC2012_val_{n:08d}.JPEG": b"x" for n, w in enumerate(CLASSES, start=1)
}
FLAT = {name.rpartition("/")[2]: data for name, data in VALIDATION.items()}


def put(folder, files):
    return {f"{folder}/{name}": data for name, data in files.items()}


def class_tar(wnid, system_files=()):
    files = {f"./._{wnid}_0.JPEG": b"Mac"} if system_files else {}
    files |= {n.rpartition("/")[2]: d for n, d in TRAIN.items() if n.startswith(wnid)}
    return making.tar_bytes(files)


TRAIN_TAR = making.tar_bytes({f"{w}.tar": class_tar(w) for w in CLASSES})
FLAT_TAR = making.tar_bytes(FLAT)


def read(*paths, **of_splits):
    """Count the images of inputs by split; return the warnings too."""
    recognised = inputs.recognise(list(map(str, paths)), None, of_splits)
    counts, observations = Counter(), []
    for number, part in enumerate(recognised.parts):
        images = index_parts.read_part(number, part)
        counts += Counter(ref.split for ref in images.refs)
        observations += images.observations
    warnings = [*recognised.warnings, *input_warnings.summarise(observations)]
    return dict(counts), [warning.text for warning in warnings]


def refuse(*paths, **of_splits):
    with pytest.raises(UsageError) as raised:
        read(*paths, **of_splits)
    return str(raised.value)


def find_notes(path):
    notes = inputs.recognise([str(path)], None).notes
    return [note for note in notes if "left out" in note]


def test_skipped_archives_and_folders_are_reported(webdataset_tars, tmp_path):
    folder = shutil.copytree(webdataset_tars, tmp_path / "images")
    (folder / "README.md").write_bytes(b"")
    (folder / ".cache").mkdir()
    assert find_notes(folder) == []
    (folder / "default").mkdir()
    (folder / "extra.tar").write_bytes(b"")
    (folder / "imagenet1k-train-0001.tar.gz").write_bytes(b"")
    assert find_notes(folder) == [
        f"{folder}: left out: default, extra.tar, imagenet1k-train-0001.tar.gz"
    ]


def test_skipped_folders_are_reported_whatever_their_names(class_folders, tmp_path):
    folder = shutil.copytree(class_folders, tmp_path / "images")
    for name in ("class", "folders", "images", "in", "left", "out"):
        (folder / name).mkdir()
    (folder / "test").mkdir()
    assert find_notes(folder)[:1] == [
        f"{folder}: left out: class, folders, images, in, left, out"
    ]


def test_folders_beside_train_and_val_are_reported_once(class_folders, tmp_path):
    folder = shutil.copytree(class_folders, tmp_path / "images")
    (folder / "valid").mkdir()
    (folder / "test").mkdir()
    second, first = find_notes(folder)
    assert first == f"{folder}/test is left out: its images have no labels"
    assert second == f"{folder}: left out: valid"


def test_built_dataset_as_input_gives_no_notes(class_folders, tmp_path):
    dataset = building.run(class_folders, tmp_path)
    assert find_notes(dataset) == []


# Splits


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train", "val"),
        ("TRAIN", "Validation"),
        ("training", "valid"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        ("ILSVRC2012_img_train/train", "imagenet_val/val/images"),
        ("train.X1", "val.X"),
    ],
)
def test_split_folders_of_other_names(tmp_path, train, validation):
    making.write_files(tmp_path, put(train, TRAIN) | put(validation, VALIDATION))
    expected = {"train": 6, "validation": 2}
    assert read(tmp_path) == (expected, [])
    first, second = (tmp_path / name.split("/")[0] for name in (train, validation))
    assert read(first, second) == (expected, [])


def test_names_of_images_decide_where_the_folder_says_nothing(tmp_path):
    making.write_files(
        tmp_path, put("a", TRAIN) | put("b", VALIDATION) | put("c", FLAT)
    )
    assert read(tmp_path / "a", tmp_path / "b") == ({"train": 6, "validation": 2}, [])
    assert read(tmp_path / "c") == ({"validation": 2}, [])
    (note, _) = inputs.recognise([str(tmp_path / "b")], None).notes
    assert note == (
        f"{tmp_path}/b: taken as validation images by the names of its images "
        "(ILSVRC2012_val_00000001, ILSVRC2012_val_00000002)"
    )


@pytest.mark.parametrize("flat", [False, True])
def test_validation_images_are_never_training_images(tmp_path, flat):
    making.write_files(tmp_path / "train", FLAT if flat else VALIDATION)
    for path in (tmp_path, tmp_path / "train"):
        said = refuse(path)
        assert f"{tmp_path}/train: its split is unclear: its name says training" in said
        assert "2 of 2 sampled image names are those of validation" in said
        assert "give it with --train_input or --validation_input" in said
    assert read(validation=[str(tmp_path / "train")]) == ({"validation": 2}, [])


def test_flag_decides_and_names_that_contradict_it_are_counted(tmp_path):
    making.write_files(tmp_path / "val", VALIDATION)
    counts, (warning,) = read(train=[str(tmp_path / "val")])
    assert counts == {"train": 2}
    assert "named as validation images of ImageNet: 2 (ILSVRC2012_val_0000" in warning


def test_flag_is_of_one_split(tmp_path):
    making.write_files(tmp_path, put("train", TRAIN) | put("val", VALIDATION))
    said = refuse(train=[str(tmp_path)])
    assert said.startswith(f"--train_input {tmp_path}: has images of several splits")


def test_nothing_tells_the_split_of_other_names(tmp_path):
    making.write_files(tmp_path, {f"{w}/{w[-2:]}sketch.JPEG": b"x" for w in CLASSES})
    assert "(64sketch, 37sketch) tell training from validation" in refuse(tmp_path)
    assert read(train=[str(tmp_path)]) == ({"train": 2}, [])


def test_few_names_of_the_other_split_are_a_warning(tmp_path):
    """Imagenette's folders have them."""
    files = put("train", TRAIN | VALIDATION)
    files |= put("val", {"n01440764/n01440764_99.JPEG": b"x"})
    counts, warnings = read(making.write_files(tmp_path, files))
    assert counts == {"train": 8, "validation": 1}
    of_train, of_validation = warnings
    assert "training images that are named as validation images" in of_train
    assert ": 2 (ILSVRC2012_val_00000001, ILSVRC2012_val_00000002)" in of_train
    assert "validation images that are named as training images" in of_validation
    assert ": 1 (n01440764_99)" in of_validation


def test_test_folder_given_by_name_is_refused(tmp_path):
    making.write_files(tmp_path / "test", {f"{CLASSES[0]}/a.JPEG": b"x"})
    assert "its name says test images, which are not used" in refuse(tmp_path / "test")
    assert read(validation=[str(tmp_path / "test")]) == ({"validation": 1}, [])


def test_tar_of_class_folders_beside_a_flat_tar(tmp_path):
    tars = {"train.tar": making.tar_bytes(TRAIN), "val.tar": FLAT_TAR}
    assert read(making.write_files(tmp_path, tars)) == (
        {"train": 6, "validation": 2},
        [],
    )


# The best of several layouts


def test_archives_beside_what_was_extracted_are_left_out(tmp_path):
    """torchvision.datasets.ImageNet leaves its root so."""
    files = put("train", TRAIN) | put("val", VALIDATION)
    files |= {"ILSVRC2012_img_train.tar": TRAIN_TAR, "ILSVRC2012_img_val.tar": FLAT_TAR}
    making.write_files(tmp_path, files)
    assert read(tmp_path) == ({"train": 6, "validation": 2}, [])
    of_train, of_validation = find_notes(tmp_path)
    assert of_train == (
        f"{tmp_path}/ILSVRC2012_img_train.tar (2 classes, 6 images) is left "
        f"out: {tmp_path}/train (2 classes, 6 images) is read, which has the same "
        "training images"
    )
    assert of_validation == (
        f"{tmp_path}/ILSVRC2012_img_val.tar (2 images) is left out: {tmp_path}/val (2 "
        "classes, 2 images) is read, which has the same validation images"
    )


def test_archive_is_read_if_it_was_extracted_in_part(tmp_path):
    files = {name: data for name, data in TRAIN.items() if name.startswith(CLASSES[0])}
    files = put("train", files) | {"ILSVRC2012_img_train.tar": TRAIN_TAR}
    making.write_files(tmp_path, files)
    assert read(tmp_path) == ({"train": 6}, [])
    (note,) = find_notes(tmp_path)
    assert note == (
        f"{tmp_path}/train (1 class, 3 images) is left out: {tmp_path}/"
        "ILSVRC2012_img_train.tar (2 classes, 6 images) is read, which has more images"
    )


def write_whole(folder, kind):
    """Write all training images in a layout of archives or files."""
    images = [
        making_layouts.LaidImage("train", name[:9], name[10:-5], data)
        for name, data in TRAIN.items()
    ]
    if kind == "parquet":
        making_layouts.write_huggingface(folder, images)
        (folder / "data/validation-00000-of-00001.parquet").unlink()
    elif kind == "webdataset":
        making_layouts.write_webdataset(folder, images)
        (folder / "imagenet1k-validation-0000.tar").unlink()
    elif kind == "zip of Kaggle":
        path = folder / "imagenet-object-localization-challenge.zip"
        making_layouts.write_kaggle_zip(path, images, b"ImageId,PredictionString\n")
    elif kind == "zip":
        with zipfile.ZipFile(folder / "train.zip", "w") as archive:
            for name, data in TRAIN.items():
                archive.writestr(f"train/{name}", data)
    else:
        files = {
            "tar of class folders": {"train.tar": making.tar_bytes(TRAIN)},
            "official": {"ILSVRC2012_img_train.tar": TRAIN_TAR},
            "class archives": {f"train/{w}.tar": class_tar(w) for w in CLASSES},
        }
        making.write_files(folder, files[kind])


KINDS = (
    "parquet", "webdataset", "zip of Kaggle", "zip", "tar of class folders",
    "official", "class archives",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tree", ["train", "ILSVRC/Data/CLS-LOC/train"])
def test_complete_layout_is_read_beside_a_partial_extraction(tmp_path, kind, tree):
    one_of_each = {name: d for name, d in TRAIN.items() if "_0." in name}
    making.write_files(tmp_path, put(tree, one_of_each))
    write_whole(tmp_path, kind)
    assert read(tmp_path) == ({"train": 6}, [])
    note = " ".join(find_notes(tmp_path))
    assert f"/{tree} (2 classes, 2 images) is left out" in note
    assert "6 images)" in note
    assert "which has more images" in note


@pytest.mark.parametrize("kind", KINDS)
def test_extracted_images_are_read_if_archives_have_as_many(tmp_path, kind):
    making.write_files(tmp_path / "train", TRAIN)
    write_whole(tmp_path, kind)
    assert read(tmp_path) == ({"train": 6}, [])
    note = " ".join(find_notes(tmp_path))
    assert f"{tmp_path}/train (2 classes, 6 images) is read, which has the same" in note


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_that_both_have_more_of_a_class_are_refused(tmp_path, kind):
    more = {f"{CLASSES[0]}/{CLASSES[0]}_{n}.JPEG": b"x" for n in range(9)}
    making.write_files(tmp_path / "train", more)
    write_whole(tmp_path, kind)
    said = refuse(tmp_path)
    assert f"{tmp_path}/train (1 class, 9 images) is beside it" in said
    assert "(2 classes, 6 images)" in said
    assert "give the one to read with --input" in said


def test_damaged_archive_beside_extracted_images_is_refused(tmp_path):
    making.write_files(tmp_path / "train", TRAIN)
    damaged = TRAIN_TAR[:2048] + b"?" * 1024 + TRAIN_TAR[3072:]
    making.write_files(tmp_path, {"ILSVRC2012_img_train.tar": damaged})
    assert "(2 classes, unknown number of images) is ambiguous" in refuse(tmp_path)


def test_some_class_folders_of_class_archives_are_extracted(tmp_path):
    some = [name for name in TRAIN if name != f"{CLASSES[1]}/{CLASSES[1]}_2.JPEG"]
    files = {name: TRAIN[name] for name in some}
    files |= {f"{wnid}.tar": class_tar(wnid) for wnid in CLASSES}
    making.write_files(tmp_path / "train", files)
    assert read(tmp_path / "train") == ({"train": 6}, [])


def test_flat_validation_archive_beside_some_sorted_images(tmp_path):
    first = next(iter(VALIDATION))
    making.write_files(tmp_path, put("val", {first: b"x"}))
    making.write_files(tmp_path, {"ILSVRC2012_img_val.tar": FLAT_TAR})
    assert read(tmp_path) == ({"validation": 2}, [])
    other = {f"{CLASSES[0]}/ILSVRC2012_val_00000009.JPEG": b"x"}
    making.write_files(tmp_path, put("val", other))
    said = refuse(tmp_path)
    assert f"{tmp_path}/ILSVRC2012_img_val.tar (2 images)" in said
    assert f"{tmp_path}/val (1 class, 2 images)" in said


def test_layouts_with_different_classes_are_read_together(tmp_path):
    files = {name: data for name, data in TRAIN.items() if name.startswith(CLASSES[0])}
    files = put("train", files | {f"{CLASSES[1]}.tar": class_tar(CLASSES[1])})
    assert read(making.write_files(tmp_path, files)) == ({"train": 6}, [])
    assert find_notes(tmp_path) == []


def test_one_split_extracted_and_one_not(tmp_path):
    files = put("train", TRAIN) | {"ILSVRC2012_img_val.tar": FLAT_TAR}
    making.write_files(tmp_path, files)
    assert read(tmp_path) == ({"train": 6, "validation": 2}, [])


# Files of operating systems


@pytest.mark.parametrize(
    "files",
    [
        {"ILSVRC2012_img_train.tar": making.tar_bytes({
            "./.DS_Store": b"x", "./._n01440764.tar": b"x",
            "./n01440764.tar": class_tar(CLASSES[0]),
        })},
        {"train/n01440764.tar": class_tar(CLASSES[0]), "train/._n01440764.tar": b"x"},
        {"n01440764.tar": class_tar(CLASSES[0], "._"), ".DS_Store": b"x"},
        {"x-train-0000.tar": making.tar_bytes({
            f"{prefix}{CLASSES[0]}_{n}.{suffix}": b"0"
            for n in range(3) for suffix in ("jpg", "cls") for prefix in ("._", "")
        }), "._x-train-0000.tar": b"x"},
        {f"train/{name}": b"x" for name in (
            *(n for n in TRAIN if n.startswith(CLASSES[0])),
            "._n01440764", ".DS_Store", "n01440764/._n01440764_0.JPEG",
        )},
    ],
    ids=["in the archive", "beside tars", "in tars", "in shards", "in folders"],
)  # fmt: skip
def test_files_of_operating_systems_are_passed_over(tmp_path, files):
    assert read(making.write_files(tmp_path, files)) == ({"train": 3}, [])


def test_files_of_operating_systems_are_counted(tmp_path):
    files = {"n01440764.tar": class_tar(CLASSES[0]), "._n01440764.tar": b"x"}
    notes = find_notes(making.write_files(tmp_path, files))
    assert notes == [f"{tmp_path}: 1 file of operating systems left out"]


# Inputs that hold no ImageNet


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.beton": b"x"}, "1 .beton files (a.beton); a.beton: FFCV's files"),
        (
            {"d/data.mdb": b"x", "d/lock.mdb": b"x"},
            "lock.mdb: an LMDB database: export",
        ),
        ({"train.rec": b"x", "train.idx": b"x"}, "train.rec: MXNet's RecordIO"),
        ({"a.rar": b"x"}, "a.rar: archives that are not read: extract"),
        ({"imagenet.tar.zst": b"x"}, "compressed tars: decompress them"),
        ({"train.tgz": b"x"}, "train.tgz contains no recognised images"),
        ({"train-00000-of-01024": b"x"}, "TFRecords that are not named as those of"),
        ({"a.tar.part": b"x"}, "a.tar.part: unfinished downloads: finish"),
        ({"ILSVRC2012_img_train.tar.partaa": b"x"}, "pieces of a split archive: join"),
        (
            {"a/b/train/n01440764/a.JPEG": b"x"},
            "ImageNet is in {path}/a/b: use that path",
        ),
        ({"train/0/a.JPEG": b"x", "train/1/a.JPEG": b"x"}, "contains 2 folders (0, 1)"),
        ({"train/a.JPEG": b"x"}, "it contains 1 .JPEG files (a.JPEG)"),
        (
            {"i.tar": making.tar_bytes({"ILSVRC2012_img_train.tar": b"x"})},
            "i.tar: 'ILSVRC2012_img_train.tar' is not a class archive",
        ),
        ({"a.txt": b"x", "b.txt": b"x"}, "it contains 2 .txt files (a.txt, b.txt)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_an_input_contains_is_told(tmp_path, files, expected):
    said = refuse(making.write_files(tmp_path, files))
    assert expected.format(path=tmp_path) in said


@pytest.mark.parametrize("pattern", ["x-{0000..0003}.tar", "*.tar", "x-000?.tar"])
def test_patterns_are_answered_with_their_folder(tmp_path, pattern):
    said = refuse(tmp_path / pattern)
    assert said.endswith(f"not expanded: give the folder of the files, {tmp_path}")


@pytest.mark.parametrize("suffix", [".aria2", ".part", ".crdownload"])
def test_archive_that_is_still_downloaded_is_refused(tmp_path, suffix):
    name = "ILSVRC2012_img_train.tar"
    making.write_files(tmp_path, {name: TRAIN_TAR, f"{name}{suffix}": b"x"})
    for path in (tmp_path, tmp_path / name):
        assert (
            f"{name} is not downloaded completely (beside it is {name}{suffix}"
            in refuse(path)
        )


def test_unread_archive_of_a_split_is_an_error_unless_the_split_is_read(tmp_path):
    files = {"ILSVRC2012_img_train.tar.gz": b"\x1f\x8b", "val.tar": FLAT_TAR}
    making.write_files(tmp_path, files)
    assert "train.tar.gz: compressed tars: decompress them (gunzip" in refuse(tmp_path)
    making.write_files(tmp_path / "train", TRAIN)
    assert read(tmp_path)[0] == {"train": 6, "validation": 2}
    assert find_notes(tmp_path) == [
        f"{tmp_path}: left out: ILSVRC2012_img_train.tar.gz"
    ]


def test_tables_and_logs_of_a_split_are_no_missing_images(tmp_path):
    files = put("val", VALIDATION) | {"training_logs/a": b"x", "train_bbox.tgz": b"x"}
    assert read(making.write_files(tmp_path, files)) == ({"validation": 2}, [])


def test_a_class_folder_that_vanishes_is_named(tmp_path):
    making.write_files(tmp_path / "train", TRAIN)
    parts = inputs.recognise([str(tmp_path)], None).parts
    shutil.rmtree(tmp_path / "train" / CLASSES[1])
    with pytest.raises(UsageError, match=rf"train/{CLASSES[1]}: No such file"):
        [index_parts.read_part(number, part) for number, part in enumerate(parts)]


def test_class_folder_without_images_is_a_warning(tmp_path):
    making.write_files(tmp_path / "train", TRAIN | {"n02106662/readme.txt": b"x"})
    counts, warnings = read(tmp_path)
    assert counts == {"train": 6}
    assert warnings == ["folders or archives without images: 1 (train/n02106662)"]


DEEPER = {
    f"{CLASSES[1]}/part2/more/{CLASSES[1]}_7.JPEG": b"x",
    f"{CLASSES[1]}/part2/{CLASSES[1]}_8.JPEG": b"x",
    f"{CLASSES[1]}/{CLASSES[1]}/{CLASSES[1]}_9.JPEG": b"x",
    f"{CLASSES[1]}/.cache/a.JPEG": b"x",
    f"{CLASSES[1]}/@eaDir/a.JPEG": b"x",
    f"{CLASSES[1]}/images/{CLASSES[1]}_5.JPEG": b"x",
    f"{CLASSES[1]}/notes/a.txt": b"x",
}


@pytest.mark.parametrize("split", ["train", "."])
def test_images_deeper_than_class_folders_are_missing(tmp_path, split):
    making.write_files(tmp_path / split, TRAIN | DEEPER)
    counts, (warning,) = read(tmp_path)
    assert counts == {"train": 7}
    place = CLASSES[1] if split == "." else f"train/{CLASSES[1]}"
    assert "in folders inside class folders, left out: 3 (" in warning
    assert f"{place}/part2 has 2" in warning
    assert f"{place}/{CLASSES[1]} has 1" in warning
    assert input_warnings.KINDS["deeper"].is_missing


@pytest.mark.parametrize("top", ["train", "ILSVRC/Data/CLS-LOC/train", "."])
def test_images_deeper_than_class_folders_of_a_zip_are_missing(tmp_path, top):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for name, data in put(top, TRAIN | DEEPER).items():
            if not name.endswith("_9.JPEG"):
                archive.writestr(name, data)
        archive.writestr(f"test/{CLASSES[1]}/a/b.JPEG", b"x")
    counts, (warning,) = read(tmp_path)
    assert counts == {"train": 7}
    assert f"left out: 2 (train.zip: {top}/{CLASSES[1]}/part2/" in warning


# Counts that the input declares


def test_validation_images_that_the_table_lists_and_that_are_missing(tmp_path):
    rows = "".join(f"ILSVRC2012_val_{n:08d},{CLASSES[0]} 0\n" for n in range(1, 6))
    table = "ImageId,PredictionString\n" + rows
    making.write_files(tmp_path, put("val", FLAT))
    (tmp_path / "LOC_val_solution.csv").write_text(table)
    parts = inputs.recognise([str(tmp_path)], None).parts
    (images,) = (
        index_parts.label_part(index_parts.read_part(0, part)) for part in parts
    )
    (warning,) = input_warnings.summarise(images.observations)
    assert warning.is_missing
    assert "(LOC_val_solution.csv: 3 of 5 are missing)" in warning.text


@pytest.mark.parametrize("kind", ["webdataset", "tfrecord"])
def test_shards_that_have_fewer_images_than_declared(class_folders, tmp_path, kind):
    dataset = building.run(class_folders, tmp_path, formats=kind)
    folder = dataset if kind == "webdataset" else dataset / "__tfds__"
    assert read(folder)[1] == []
    first, second = sorted(folder.glob("**/*train*-of-*"))[:2]
    first.write_bytes(second.read_bytes())
    for path in dataset.glob("**/*info.json"):
        path.write_text(re.sub(r"\b20\b", "21", path.read_text()))
    _, (warning,) = read(folder)
    assert warning.startswith("files with more or fewer images than the dataset")
    assert " has 20 instead of 21" in warning


def test_declared_shards_that_are_missing():
    lengths = {f"train-{number}.tar": 20 for number in range(3)} | {"x.tfrecord-0": 9}
    (warning,) = layouts.find_undeclared(lengths, {"train-1.tar"})
    assert warning.is_missing
    assert "missing: 2 with 40 images (train-0.tar, train-2.tar)" in warning.text
    assert layouts.find_undeclared(lengths, set(lengths)) == ()


@pytest.mark.parametrize(
    ("numbers", "total", "missing"),
    [
        ([0, 1, 3], 0, "1 of 4 (the first is number 2)"),
        ([1, 2, 4], 0, "1 of 5 (the first is number 3)"),
        ([0, 2], 3, "1 of 3 (the first is number 1)"),
        ([0, 1, 2], 0, None),
        ([1, 2, 3], 0, None),
        ([0, 1000, 2000], 0, None),
        ([7], 0, None),
    ],
)
def test_missing_numbers_of_shards(numbers, total, missing):
    shards = [layouts.ShardName("train", number, total) for number in numbers]
    warnings = layouts.find_missing(shards)
    assert len(warnings) == (missing is not None)
    for warning in warnings:
        assert warning.text == f"missing files of train: {missing}"
        assert warning.is_missing
