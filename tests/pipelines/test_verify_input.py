"""A dataset is compared with its source again, and differences are named."""

import io
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines import index, verify
from tests import building
from transforms.verification import results as check_results

IMAGES, COUNTS, CONTENTS = (
    "images of the input",
    "counts of the input",
    "image contents",
)
MANIFEST = "__meta__/manifest.parquet"


@pytest.fixture(scope="module")
def dataset(class_folders, tmp_path_factory) -> Path:
    """A dataset with five validation images that are held out of training."""
    folder = tmp_path_factory.mktemp("dataset")
    return building.run(class_folders, folder, min_validation_images=35)


@pytest.fixture
def folders(class_folders, tmp_path) -> Path:
    """An input to change."""
    return shutil.copytree(class_folders, tmp_path / "imagenet")


@pytest.fixture
def copy(dataset, tmp_path) -> Path:
    """A dataset to change."""
    return shutil.copytree(dataset, tmp_path / "copy" / "small" / "1.0.0")


def compare(
    dataset: Path, *sources: Path, images="all"
) -> dict[str, check_results.Row]:
    options = verify.VerifyOptions(
        dataset=str(dataset),
        input=tuple(map(str, sources)),
        images=images,
        readers=(),
        threads=2,
    )
    return {row.check: row for row in verify.verify(options)}


def find_mismatches(rows: dict[str, check_results.Row]) -> set[str]:
    return {n for n, row in rows.items() if row.result == check_results.MISMATCH}


def written(dataset: Path, split: str = "train") -> list[dict]:
    return [row for row in building.manifest(dataset) if row["split"] == split]


def locate(folders: Path, key: str) -> Path:
    (path,) = folders.glob(f"*/*/{key}.JPEG")
    return path


# The same source


@pytest.mark.parametrize(
    "layout",
    [
        "class_folders",
        "mini_imagenet",
        "mini_index",
        "kaggle_zip",
        "huggingface_parquet",
        "tfds_records",
    ],
)
def test_every_layout_of_the_same_images_agrees(dataset, layout, request):
    rows = compare(dataset, request.getfixturevalue(layout))
    assert find_mismatches(rows) == set()
    assert rows[IMAGES].detail == "95 of 95 images are in the input"
    assert rows[CONTENTS].detail == "95 of 95 images compared and equal"
    fingerprint = (
        "another" if layout in {"kaggle_zip", "huggingface_parquet"} else "same"
    )
    assert fingerprint in rows[COUNTS].detail
    said = " ".join([rows["input"].detail, *rows["input"].examples])
    assert "120 training and 30 validation images of 6 classes" in said


@pytest.mark.parametrize(
    "change",
    [
        {"resize_mode": "none", "folds": 2, "images_per_group": None},
        {"formats": "folders"},
        {"formats": "parquet", "resize_mode": "squash", "upscale": True},
    ],
    ids=["original bytes", "folders", "parquet"],
)
def test_every_kind_of_dataset_agrees_with_its_source(class_folders, tmp_path, change):
    root = building.run(class_folders, tmp_path, **change)
    assert find_mismatches(compare(root, class_folders)) == set()


def test_no_input_adds_no_rows(dataset):
    rows = compare(dataset)
    assert not {"input", IMAGES, COUNTS, CONTENTS} & rows.keys()


def test_sample_is_selected_by_hash(dataset, class_folders):
    row = compare(dataset, class_folders, images="7")[CONTENTS]
    assert row.detail == "7 of 95 images compared and equal"


def test_failed_and_unusable_images_agree(folders, tmp_path):
    for path in sorted(folders.glob("train/*/*.JPEG"))[::17]:
        path.write_bytes(path.read_bytes()[:300])
    root = building.run(folders, tmp_path, max_failure_fraction=0.5)
    assert find_mismatches(compare(root, folders)) == set()
    inspected = tmp_path / "index.parquet"
    index.main([f"--input={folders}", "--inspect", f"--output={inspected}"])
    rows = compare(root, inspected)
    assert find_mismatches(rows) == {IMAGES}  # failed, and unusable now
    assert "is unusable in the input: truncated image" in rows[IMAGES].examples[0]
    root = building.run(inspected, tmp_path / "inspected", images_per_group=9)
    assert find_mismatches(compare(root, inspected)) == set()
    assert find_mismatches(compare(root, folders)) == set()


# Another source


def test_images_that_are_gone_are_named_with_their_classes(dataset, folders):
    gone = written(dataset)[0]
    unused = next(
        path
        for path in sorted(folders.glob("train/*/*.JPEG"))
        if path.stem not in {row["key"] for row in building.manifest(dataset)}
        and path.parent.name != gone["wnid"]
    )
    locate(folders, gone["key"]).unlink()
    unused.unlink()
    rows = compare(dataset, folders)
    assert find_mismatches(rows) == {IMAGES, COUNTS}
    assert rows[IMAGES].examples == (
        f"{gone['key']} ({gone['wnid']}, train) is not in the input",
    )
    named = " ".join(rows[COUNTS].examples)
    for wnid in (gone["wnid"], unused.parent.name):
        pattern = rf"{wnid} \([^)]+\): 19 training images, 20 when the dataset was"
        assert re.search(pattern, named)


def test_a_new_class_and_new_images_are_named(dataset, folders):
    shutil.copytree(sorted(folders.glob("train/*"))[0], folders / "train/n01440764")
    for path in folders.glob("train/n01440764/*"):
        path.rename(path.with_name(f"n01440764_{path.stem.split('_')[1]}.JPEG"))
    rows = compare(dataset, folders)
    assert find_mismatches(rows) == {COUNTS}
    assert rows[COUNTS].examples == (
        "n01440764 (tench): 20 training images, 0 when the dataset was built",
    )


def test_renamed_image_that_was_not_selected_changes_the_fingerprint(dataset, folders):
    keys = {row["key"] for row in building.manifest(dataset)}
    path = next(p for p in folders.glob("train/*/*.JPEG") if p.stem not in keys)
    path.rename(path.with_name(f"{path.parent.name}_999.JPEG"))
    rows = compare(dataset, folders)
    assert find_mismatches(rows) == {COUNTS}
    assert "images have other names or lengths" in rows[COUNTS].examples[0]


def test_image_in_another_class_or_split_is_named(dataset, folders):
    held_out = [
        r for r in written(dataset, "validation") if r["source"].startswith("t")
    ]
    assert len(held_out) == 5  # these are in train, and agree
    first, second = written(dataset)[:2]
    official = next(
        r for r in written(dataset, "validation") if r["key"].startswith("ILSVRC")
    )
    wnids = sorted(path.name for path in folders.glob("val/*"))
    other = next(wnid for wnid in wnids if wnid != official["wnid"])
    # Only names of training images give their class.
    for image, wnid in ((first, first["wnid"]), (official, other)):
        place = locate(folders, image["key"])
        place.rename(folders / "val" / wnid / place.name)
    rows = compare(dataset, folders)
    assert set(rows[IMAGES].examples) == {
        f"{first['key']} is in validation in the input, in train in the dataset",
        f"{official['key']} is of {other} in the input, of {official['wnid']} in the "
        "dataset",
    }
    assert second["key"] not in " ".join(rows[IMAGES].examples)


def test_picture_that_was_replaced_is_found(dataset, folders):
    first, second = written(dataset)[:2]
    shutil.copy(locate(folders, second["key"]), locate(folders, first["key"]))
    rows = compare(dataset, folders)
    assert CONTENTS in find_mismatches(rows)
    (told,) = rows[CONTENTS].examples
    assert told.startswith(
        f"{first['key']}: {first['source']} at byte 0 has other bytes"
    )
    assert re.search(r"mean difference \d+\.\d of 255|another size", told)


def test_dataset_built_from_a_wrong_source_is_found(class_folders, folders, tmp_path):
    paths = sorted(folders.glob("train/*/*.JPEG"))
    first, second = paths[0].read_bytes(), paths[-1].read_bytes()
    paths[0].write_bytes(second)
    paths[-1].write_bytes(first)
    root = building.run(
        folders,
        tmp_path,
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
        min_validation_images=0,
    )
    rows = compare(root, class_folders)
    assert CONTENTS in find_mismatches(rows)
    assert {told.split(":")[0] for told in rows[CONTENTS].examples} == {
        paths[0].stem,
        paths[-1].stem,
    }


def test_damaged_source_is_named(dataset, folders):
    path = locate(folders, written(dataset)[0]["key"])
    path.write_bytes(path.read_bytes()[:-300] + bytes(300))
    rows = compare(dataset, folders)
    assert find_mismatches(rows) == {CONTENTS}
    assert path.stem in rows[CONTENTS].examples[0]


# Other pictures in the dataset


def reencode(root: Path, quality: int) -> str:
    """Write the first picture anew behind the end of its tar; returns its key."""
    table = pq.read_table(root / MANIFEST)
    row = table.slice(0, 1).to_pylist()[0]
    tar = root / row["file"]
    data = tar.read_bytes()
    picture = Image.open(io.BytesIO(data[row["offset"] :][: row["length"]]))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    tar.write_bytes(data + file.getvalue())
    for name, value in {"offset": len(data), "length": len(file.getvalue())}.items():
        values = [value, *table[name].to_pylist()[1:]]
        position = table.column_names.index(name)
        table = table.set_column(position, table.schema.field(name), [values])
    pq.write_table(table, root / MANIFEST)
    return row["key"]


def change_versions(root: Path) -> None:
    recipe = building.read_json(root, "__meta__/recipe.json")
    recipe["versions"]["pillow"] = "9.0.0"
    (root / "__meta__/recipe.json").write_text(json.dumps(recipe))


def test_same_libraries_must_write_the_same_bytes(copy, class_folders):
    key = reencode(copy, 91)
    row = compare(copy, class_folders)[CONTENTS]
    (told,) = row.examples
    assert re.fullmatch(
        rf"{key}: \S+ does not match the image of \S+ at byte 0: mean difference "
        r"\d\.\d of 255",
        told,
    )


def test_other_libraries_may_write_other_bytes_of_the_same_picture(copy, class_folders):
    reencode(copy, 91)
    change_versions(copy)
    row = compare(copy, class_folders)[CONTENTS]
    assert row.result == check_results.OK
    assert row.detail.endswith("equal, written by other library versions")
    reencode(copy, 3)
    row = compare(copy, class_folders)[CONTENTS]
    assert row.result == check_results.MISMATCH


def test_written_image_outside_the_dataset_is_not_read(copy, class_folders):
    table = pq.read_table(copy / MANIFEST)
    values = ["../../../etc/passwd", *table["file"].to_pylist()[1:]]
    position = table.column_names.index("file")
    table = table.set_column(position, table.schema.field("file"), [values])
    pq.write_table(table, copy / MANIFEST)
    (told,) = compare(copy, class_folders)[CONTENTS].examples
    assert told.endswith("complete.json does not list ../../../etc/passwd")


# The command line


def run_main(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        verify.main([*map(str, words), "--readers=tar_members"])
    return int(ended.value.code or 0)


def test_exit_code_tells_of_a_difference(dataset, class_folders, folders, capsys):
    assert run_main(dataset, "--input", class_folders, "--images", "5") == 0
    captured = capsys.readouterr()
    assert "found class folders" in captured.err
    assert "5 of 95 images compared and equal" in captured.out
    locate(folders, written(dataset)[0]["key"]).unlink()
    assert run_main("--input", folders, dataset) == 1
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.endswith(f"{IMAGES}, {COUNTS}")


def test_inputs_of_splits_are_the_same_source(dataset, class_folders, capsys):
    folders = [class_folders / "train", class_folders / "val"]
    flags = ["--train_input", folders[0], "--validation_input", folders[1]]
    assert run_main(dataset, *flags, "--images", "5") == 0
    assert "5 of 95 images compared and equal" in capsys.readouterr().out


def test_class_list_is_read(dataset, class_folders, tmp_path, capsys):
    path = tmp_path / "classes.txt"
    path.write_text("n01440764 5\nn01443537 7\n")
    assert run_main(dataset, "--input", class_folders, "--class_list", path) == 2
    assert f"--class_list {path}:1: the number 5 is not 1 to 2" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images=3"], "--images: applies only with --input"),
        (["--validation_labels=x"], "--validation_labels: applies only with --input"),
        (["--class_list=x"], "--class_list: applies only with --input"),
        (
            ["--input=/nowhere", "--images=0"],
            "--images 0: must be a whole number from 1",
        ),
        (
            ["--input=/nowhere", "--images=some"],
            "--images some: must be a whole number",
        ),
        (["--input=/nowhere"], "--input /nowhere: no such file or folder"),
    ],
)
def test_wrong_flags_exit_with_2(dataset, capsys, words, message):
    assert run_main(dataset, *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["DATASET", "--input", "a", "b"],
        ["--threads", "2", "DATASET"],
        ["--input", "a", "b", "DATASET"],
        ["--input=a", "DATASET", "--threads", "2"],
        ["--dataset", "DATASET", "--input", "a", "b"],
    ],
)
def test_dataset_is_the_first_or_the_last_free_word(words):
    named = verify.name_positional(words)
    expected = words if "--dataset" in words else [
        "--dataset=DATASET" if word == "DATASET" else word for word in words
    ]  # fmt: skip
    assert named == expected
