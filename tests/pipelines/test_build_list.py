"""Test builds of the images that a list names."""

import csv

import pyarrow.parquet as pq
import pytest

from pipelines import build
from tests import building

NO_COUNTS = {"images_per_group": None, "min_validation_images": None}


def plan(index, output, **flags):
    """Plan a build; return (key, split, label) of its images, and its subset id."""
    folder = building.run(index, output, plan_only=True, **flags)
    table = pq.read_table(folder / "images.parquet")
    images = zip(
        *(table[n].to_pylist() for n in ("key", "split", "label")), strict=True
    )
    return set(images), building.read_json(folder, "recipe.json")


def refuse(index, output, capsys, **flags):
    """Run a build that fails; return its error message."""
    with pytest.raises(SystemExit) as ended:
        build.main(building.command_line(index, output, plan_only=True, **flags))
    assert ended.value.code == 2
    return capsys.readouterr().err


def read_keys(index, split="train"):
    table = pq.read_table(index, filters=[("split", "=", split)])
    return table["key"].to_pylist()


def write_list(folder, keys, name="list.txt"):
    path = folder / name
    path.write_text("".join(f"{key[:9]}/{key}.JPEG\n" for key in keys))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("folds", [1, 2])
def test_an_exported_list_builds_the_same_subset(mini_index, tmp_path, suffix, folds):
    path = tmp_path / f"images{suffix}"
    flags = {"grouping": "wordnet", "folds": folds, "min_validation_images": 40}
    images, recipe = plan(mini_index, tmp_path, export_images=path, **flags)
    assert {split for _, split, _ in images} >= {"validation"}
    again = tmp_path / f"again{suffix}"
    flags |= NO_COUNTS | {"sampling": "list", "images": path, "seed": 3}
    same, other = plan(mini_index, tmp_path, export_images=again, **flags)
    assert same == images
    assert other["subset_id"] == recipe["subset_id"]
    assert again.read_bytes() == path.read_bytes()
    assert other["sampling"] == "list"
    assert "--images PATH_TO_IMAGE_LIST" in other["command"]


def test_the_manifest_and_groups_of_a_dataset_rebuild_it(
    halves, mini_imagenet, tmp_path
):
    flags = NO_COUNTS | {"grouping": "manual", "num_groups": None, "sampling": "list"}
    rebuilt = building.run(
        mini_imagenet,
        tmp_path,
        groups=halves / "__meta__/groups.csv",
        images=halves / "__meta__/manifest.parquet",
        folds=2,
        formats="webdataset",
        **flags,
    )
    recipes = [building.read_json(d, "__meta__/recipe.json") for d in (halves, rebuilt)]
    assert recipes[0]["subset_id"] == recipes[1]["subset_id"]


def test_exactly_the_listed_images_of_unequal_groups_are_selected(mini_index, tmp_path):
    keys = read_keys(mini_index)
    wnids = sorted({key[:9] for key in keys})
    chosen = [
        key
        for number, wnid in enumerate(wnids[:3])
        for key in [k for k in keys if k[:9] == wnid][:: number + 2]
    ]
    path = write_list(tmp_path, chosen)
    flags = NO_COUNTS | {"grouping": "all_classes", "num_groups": None}
    images, _ = plan(mini_index, tmp_path, sampling="list", images=path, **flags)
    groups = sorted({key[:9] for key in chosen})
    expected = {(key, "train", groups.index(key[:9])) for key in chosen}
    table = pq.read_table(mini_index, filters=[("split", "=", "validation")])
    expected |= {
        (key, "validation", groups.index(wnid))
        for key, wnid in zip(
            table["key"].to_pylist(), table["wnid"].to_pylist(), strict=True
        )
        if wnid in groups
    }
    assert images == expected


def test_missing_images_are_all_named_in_a_file(mini_index, tmp_path, capsys):
    absent = [f"n01440764_{n}" for n in range(10**6, 10**6 + 12)]
    path = write_list(tmp_path, [*read_keys(mini_index), *absent])
    output = tmp_path / "out"
    flags = NO_COUNTS | {"sampling": "list", "images": path}
    said = refuse(mini_index, output, capsys, max_missing=11, **flags)
    assert "12 of its images are not among the usable images of the input" in said
    assert "n01440764_1000000.JPEG" in said
    assert "--max_missing 12" in said
    named = (output / "list_missing.txt").read_text()
    assert named == "".join(f"n01440764/{key}.JPEG\n" for key in absent)
    _, recipe = plan(mini_index, output, max_missing=12, **flags)
    assert "12 of 132 listed images are not" in recipe["sampling_notes"][0]


def test_a_list_of_one_class_is_named_as_the_cause_and_leaves_no_file(
    mini_index, tmp_path, capsys
):
    first, *others = read_keys(mini_index)
    wnid = first.partition("_")[0]
    keys = [first, *(key for key in others if key.startswith(wnid))]
    path = write_list(tmp_path, [*keys, "n01440764_1000000"])
    output = tmp_path / "out"
    flags = NO_COUNTS | {"sampling": "list", "images": path, "max_missing": 1}
    said = refuse(mini_index, output, capsys, **flags)
    assert f"--images {path}: its images are of 1 of the 6 classes of the input" in said
    assert not (output / "list_missing.txt").exists()


def test_listed_images_outside_the_groups_are_accounted_for(
    mini_index, tmp_path, capsys
):
    keys = read_keys(mini_index)
    path = write_list(tmp_path, keys[::2])
    flags = NO_COUNTS | {"sampling": "list", "images": path, "num_groups": 2}
    flags["grouping"] = "random_classes"
    said = refuse(mini_index, tmp_path, capsys, **flags)
    assert "40 of 60 listed images are of 4 classes in no group (n0" in said
    assert "--list_outside drop" in said
    images, _ = plan(mini_index, tmp_path, list_outside="drop", **flags)
    assert sum(split == "train" for _, split, _ in images) == 20
    assert "40 of 60 listed images" in capsys.readouterr().err


def test_groups_without_listed_images_are_an_error(mini_index, tmp_path, capsys):
    keys = read_keys(mini_index)
    wnids = sorted({key[:9] for key in keys})
    groups = tmp_path / "groups.csv"
    groups.write_text("wnid,group\n" + "".join(f"{w},{w}\n" for w in wnids))
    path = write_list(tmp_path, [k for k in keys if k[:9] != wnids[2]])
    flags = NO_COUNTS | {"sampling": "list", "images": path, "num_groups": None}
    flags |= {"grouping": "manual", "groups": groups}
    said = refuse(mini_index, tmp_path, capsys, **flags)
    assert "1 of 6 groups have no training images" in said


@pytest.mark.parametrize("fold", ["fold_a", "fold_b"])
def test_lists_with_folds_need_two_folds(mini_index, tmp_path, capsys, fold):
    path = tmp_path / "list.csv"
    rows = [("image", "split"), *((k, fold) for k in read_keys(mini_index))]
    with path.open("w") as file:
        csv.writer(file).writerows(rows)
    flags = NO_COUNTS | {"sampling": "list", "images": path}
    assert "give --folds 2" in refuse(mini_index, tmp_path, capsys, **flags)


def test_a_damaged_list_is_refused_before_the_input_is_read(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("no name\n")
    flags = NO_COUNTS | {"sampling": "list", "images": tmp_path / "list.txt"}
    said = refuse(tmp_path / "empty", tmp_path / "out", capsys, **flags)
    assert "line 1: 'no name' is not the name of an image" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sampling": "list"}, "--images: is required (the table of --sampling=list)"),
        ({"images": "x.txt"}, "--images x.txt: applies only with --sampling=list"),
        ({"max_missing": 3}, "--max_missing 3: applies only with --images"),
        (
            {"sampling": "list", "images": "x"},
            "--images_per_group 20: --sampling=list selects all images; leave it out",
        ),
        (
            {"sampling": "list", "images": "x", "stratify_by_class": True},
            "--stratify_by_class: --sampling=list selects all images; leave it out",
        ),
        (
            {"sampling": "list", "images": "x.csv", "export_images": "./x.csv"},
            "--export_images ./x.csv: is the file of --images; name another",
        ),
        ({"export_images": "x.txt"}, "--export_images x.txt: must end in .csv or .par"),
    ],
)
def test_contradictory_flags_are_refused(mini_index, tmp_path, capsys, flags, expected):
    assert expected in refuse(mini_index, tmp_path, capsys, **flags)
