"""Test the main job on the miniature ImageNet with its unusual images."""

import csv
import html
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines.building import options
from tests import building, making
from transforms import seeds
from transforms.layouts.official_archives import TRAIN, VALIDATION
from transforms.sampling import allocation

GOLDEN = Path(__file__).parent / "golden_manifest.json"


@pytest.fixture(scope="module")
def dataset(mini_imagenet, tmp_path_factory):
    return building.run(mini_imagenet, tmp_path_factory.mktemp("dataset"))


def _read_originals(imagenet):
    """Read all images with tarfile; return (wnid, split, bytes) by key."""
    wnids = making.read_labels(imagenet / "LOC_val_solution.csv")
    images = {}
    for data in making.read_tar(imagenet / TRAIN).values():
        for name, image in making.read_tar(data).items():
            images[Path(name).stem] = (name.split("_")[0], "train", image)
    for name, image in making.read_tar(imagenet / VALIDATION).items():
        images[Path(name).stem] = (wnids[Path(name).stem], "validation", image)
    return images


def test_subset_agrees_with_plain_python(mini_imagenet, dataset):
    images = _read_originals(mini_imagenet)
    wnids = sorted({wnid for wnid, _, _ in images.values()})
    dealt = sorted(wnids, key=lambda wnid: seeds.order(0, "group", wnid))
    groups = sorted([sorted(dealt[start:][:2]) for start in (0, 2, 4)])
    label_of = {wnid: n for n, group in enumerate(groups) for wnid in group}
    chosen = []
    for label in range(3):
        own = [
            k for k, (w, s, _) in images.items() if (label_of[w], s) == (label, "train")
        ]
        own.sort(key=lambda key: seeds.order(0, "sample", key))
        chosen += [("train", key, label) for key in own[:20]]
    chosen += [
        ("validation", key, label_of[wnid])
        for key, (wnid, split, _) in images.items()
        if split == "validation"
    ]
    chosen.sort(key=lambda row: (row[0], seeds.order(0, "shuffle", row[1])))
    rows = building.manifest(dataset)
    assert [(row["split"], row["key"], row["label"]) for row in rows] == chosen
    assert [row["shard"] for row in rows] == [0] * 20 + [1] * 20 + [2] * 20 + [
        0
    ] * 15 + [1] * 15


def test_manifest_is_the_golden_one(dataset, request):
    names = ("key", "split", "label", "wnid", "shard", "position", "width", "height")
    found = {
        "subset_id": building.read_json(dataset, "__meta__/recipe.json")["subset_id"],
        "images": [
            " ".join(str(row[name]) for name in names)
            for row in building.manifest(dataset)
        ],
    }
    if request.config.getoption("--write_goldens"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_every_image_is_a_whole_rgb_jpeg_without_metadata(dataset):
    for row in building.manifest(dataset):
        data = (dataset / row["file"]).read_bytes()
        data = data[row["offset"] : row["offset"] + row["length"]]
        image = Image.open(io.BytesIO(data))
        image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (row["width"], row["height"])
        assert min(image.size) == 32
        assert not image.getexif()
        assert "icc_profile" not in image.info


def test_counts_add_up(dataset):
    statistics = building.read_json(dataset, "__meta__/statistics.json")
    assert statistics["totals"] == {
        "found": 150,
        "unusable": 0,
        "chosen": 90,
        "left_out": 60,
        "failed": 0,
        "written": 90,
    }
    assert sum(c["left_out"] for c in statistics["classes"]) == 60


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 1},
        {"threads": 4},
        {"direct_running_mode": "multi_processing", "direct_num_workers": 2},
        {"direct_runner_bundle_repeat": 1},
        {"runner": "BundleBasedDirectRunner"},
    ],
    ids=["1 thread", "4 threads", "2 processes", "bundles repeated", "other runner"],
)
def test_bytes_do_not_depend_on_workers_or_engines(
    mini_imagenet, tmp_path, dataset, change
):
    again = building.run(mini_imagenet, tmp_path / "elsewhere", **change)
    assert building.checksums(again) == building.checksums(dataset)


@pytest.mark.parametrize("layout", ["class_folders", "kaggle_tree"])
def test_every_layout_gives_the_same_images(layout, request, tmp_path, dataset):
    other = building.run(request.getfixturevalue(layout), tmp_path)
    assert (
        building.read_json(other, "__meta__/recipe.json")["subset_id"]
        == (building.read_json(dataset, "__meta__/recipe.json")["subset_id"])
    )
    shards = [path for path in building.checksums(dataset) if path.endswith(".tar")]
    assert shards
    for path in shards:
        assert (other / path).read_bytes() == (dataset / path).read_bytes()


RECIPE_CHANGES = {
    "grouping": {"grouping": "all_classes", "num_groups": None, "images_per_group": 9},
    "num_groups": {"num_groups": 2},
    "images_per_group": {"images_per_group": 19},
    "stratify_by_class": {"stratify_by_class": True},
    "folds": {"folds": 2},
    "min_validation_images": {"min_validation_images": 36},
    "allow_small_validation": {"allow_small_validation": True},
    "image_size": {"image_size": 31},
    "resize_mode": {"resize_mode": "center_crop"},
    "upscale": {"upscale": True},
    "jpeg_quality": {"jpeg_quality": 80},
    "name": {"name": "other"},
    "formats": {"formats": "tfrecord"},
    "images_per_shard": {"images_per_shard": 20},
    "seed": {"seed": 1},
}
OTHER_CHANGES = {
    "threads": {"threads": 3},
    "max_failure_fraction": {"max_failure_fraction": 0.5},
    "resume": {"resume": True},
}


@pytest.mark.parametrize("change", RECIPE_CHANGES.values(), ids=RECIPE_CHANGES)
def test_every_recipe_flag_changes_the_dataset(
    mini_imagenet, tmp_path, dataset, change
):
    other = building.run(mini_imagenet, tmp_path, **change)
    assert building.checksums(other) != building.checksums(dataset)


@pytest.mark.parametrize("change", OTHER_CHANGES.values(), ids=OTHER_CHANGES)
def test_no_other_flag_changes_the_dataset(mini_imagenet, tmp_path, dataset, change):
    other = building.run(mini_imagenet, tmp_path, **change)
    assert building.checksums(other) == building.checksums(dataset)


def test_effect_tests_cover_every_flag():
    tested = {*RECIPE_CHANGES, *OTHER_CHANGES}
    elsewhere = {"input", "output", "validation_labels", "plan_only", "dry_run"}
    elsewhere |= {"class_list"}
    # These go with methods of their own.
    elsewhere |= {"groups", "confusion", "preset", "difficulty"}
    elsewhere |= {"images", "max_missing", "export_images"}  # in test_build_list.py
    elsewhere |= {"require_complete", "train_input", "validation_input"}
    elsewhere |= {"dataset_version", "sampling"}  # one value, or part of the path
    elsewhere |= {"store_endpoint", "store_region", "store_anonymous"}  # of buckets
    elsewhere |= {"log_format"}  # in test_log_format.py
    assert tested | elsewhere == set(options.BuildOptions.__dataclass_fields__)


def test_groups_table_gives_the_same_subset_again(mini_imagenet, tmp_path, dataset):
    groups = dataset / "__meta__" / "groups.csv"
    change = {"grouping": "manual", "groups": groups, "num_groups": None}
    again = building.run(mini_imagenet, tmp_path, **change)
    ids = [
        building.read_json(directory, "__meta__/recipe.json")["subset_id"]
        for directory in (dataset, again)
    ]
    assert ids[0] == ids[1]
    assert (again / "__meta__/groups.csv").read_bytes() == groups.read_bytes()


def test_smaller_subset_is_contained_in_larger_one(mini_imagenet, tmp_path, dataset):
    small = building.run(mini_imagenet, tmp_path, images_per_group=7)
    keys = {
        directory: {
            r["key"] for r in building.manifest(directory) if r["split"] == "train"
        }
        for directory in (small, dataset)
    }
    assert keys[small] < keys[dataset]


@pytest.mark.parametrize("images_per_group", [5, 16])
@pytest.mark.parametrize("stratify", [None, True])
def test_validation_is_the_same_for_every_m_and_sampler(
    mini_imagenet, tmp_path, images_per_group, stratify
):
    change = {"min_validation_images": 42}
    validation = []
    for number, more in enumerate([
        {},
        {"images_per_group": images_per_group, "stratify_by_class": stratify},
    ]):
        directory = building.run(
            mini_imagenet,
            tmp_path / str(number),
            **change,
            **{"images_per_group": 12, **more},
        )
        rows = building.manifest(directory)
        validation.append([r["key"] for r in rows if r["split"] == "validation"])
        train = {r["key"] for r in rows if r["split"] == "train"}
        assert not train & set(validation[-1])
    assert validation[0] == validation[1]
    assert len(validation[0]) == 42


def test_stratified_sample_takes_equally_of_each_class(mini_imagenet, tmp_path):
    directory = building.run(
        mini_imagenet,
        tmp_path,
        num_groups=2,
        images_per_group=31,
        stratify_by_class=True,
    )
    counts = {}
    for row in building.manifest(directory):
        if row["split"] == "train":
            by_class = counts.setdefault(row["label"], {})
            by_class[row["wnid"]] = by_class.get(row["wnid"], 0) + 1
    for by_class in counts.values():
        available = dict.fromkeys(by_class, 20)
        assert by_class == allocation.water_fill(available, 31, seed=0)


def test_folds_halve_every_class(mini_imagenet, tmp_path):
    directory = building.run(mini_imagenet, tmp_path, folds=2, images_per_group=None)
    counts = {}
    for row in building.manifest(directory):
        counts.setdefault(row["split"], []).append(row["wnid"])
    assert {split: len(wnids) for split, wnids in counts.items()} == {
        "fold_a": 60,
        "fold_b": 60,
        "validation": 30,
    }
    assert sorted(counts["fold_a"]) == sorted(counts["fold_b"])


def test_input_of_only_training_images_is_accepted(class_archives, tmp_path):
    directory = building.run(class_archives, tmp_path, min_validation_images=0)
    assert {row["split"] for row in building.manifest(directory)} == {"train"}
    assert not (directory / "validation").exists()


def test_input_of_only_validation_images_is_accepted(mini_imagenet, tmp_path):
    directory = building.run(
        mini_imagenet / VALIDATION,
        tmp_path,
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
    )
    assert {row["split"] for row in building.manifest(directory)} == {"validation"}


def test_plan_only_selects_the_same_images_without_writing(
    mini_imagenet, tmp_path, dataset
):
    plan = building.run(mini_imagenet, tmp_path, plan_only=True)
    assert {path.name for path in plan.iterdir()} == {
        "groups.csv",
        "images.parquet",
        "plan.html",
        "recipe.json",
        "statistics.json",
    }
    assert building.read_json(plan, "recipe.json") == building.read_json(
        dataset, "__meta__/recipe.json"
    )
    assert not (tmp_path / "small" / "1.0.0").exists()


def test_last_line_is_the_directory_and_the_rest_is_stderr(
    mini_imagenet, tmp_path, capfd
):
    directory = building.run(mini_imagenet, tmp_path)
    out, err = capfd.readouterr()
    assert out == f"{directory}\n"
    for expected in (
        f"found official archives ({TRAIN} and {VALIDATION})",
        "120 training and 30 validation images of 6 classes",
        "finding: 150 image",
        "writing: 100%",
        "train: 60 images, 20 in each of 3 groups",
        "of 150 images found, 60 were left out, 0 failed",
        "load it:",
    ):
        assert expected in err


def test_held_out_images_are_told_in_the_summary_card_and_plan(
    mini_imagenet, tmp_path, capfd
):
    sources = "validation images: 30 official, 12 held out of training"
    warning = (
        "warning: 12 of 42 validation images are training images, held out to reach "
        "--min_validation_images 42; lower it to 30"
    )
    change = {"min_validation_images": 42, "images_per_group": 12}
    plan = building.run(mini_imagenet, tmp_path, plan_only=True, **change)
    said = capfd.readouterr().err
    assert f"  {sources}\n" in said
    assert warning in said
    page = html.unescape((plan / "plan.html").read_text())
    warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert len(warnings) > 1
    assert all(line in page for line in warnings)
    assert sources in page
    assert warning in page
    directory = building.run(mini_imagenet, tmp_path, **change)
    said = capfd.readouterr().err
    assert f"  {sources}\n" in said
    assert said.index(warning) < said.index("writing:")
    assert f"{sources[1:]}.\n" in (directory / "README.md").read_text()
    for path in (plan / "statistics.json", directory / "__meta__/statistics.json"):
        described = json.loads(path.read_text())["validation"]
        assert (described["official"], described["held_out"]) == (30, 12)


def test_classes_with_validation_images_only_are_named(class_folders, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(class_folders, folder)
    lost = sorted(path.name for path in (folder / "train").iterdir())[0]
    shutil.rmtree(folder / "train" / lost)
    building.run(folder, tmp_path, num_groups=2)
    assert re.search(
        rf"  5 classes trained, 6 validated; no training images: [\w ]+ \({lost}\)\n",
        capfd.readouterr().err,
    )


def test_demonstration_needs_no_flags(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "pipelines.build"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path.cwd()), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    directory = Path(finished.stdout.splitlines()[-1])
    assert directory == tmp_path / "subsets" / "demonstration" / "1.0.0"
    assert len(building.manifest(directory)) == 700
    assert "and on ImageNet itself:" in finished.stderr


def test_help_needs_no_beam():
    code = (
        "import sys; from pipelines import build\n"
        "try: build.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('apache_beam' in sys.modules or 'tensorflow' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "--images_per_group" in finished.stdout


def test_conversions_are_counted_and_no_failures(mini_imagenet, tmp_path):
    directory = building.run(
        mini_imagenet,
        tmp_path,
        grouping="all_classes",
        num_groups=None,
        images_per_group=None,
        min_validation_images=0,
        image_size=100,
    )
    conversions = building.read_json(directory, "__meta__/statistics.json")["oddities"]
    assert conversions.pop("smaller_than_asked") == 150
    assert conversions == {
        "cmyk": 1,
        "greyscale": 2,
        "icc": 1,
        "orientation": 1,
        "png": 1,
    }
    with (directory / "__meta__/failures.csv").open() as file:
        assert list(csv.DictReader(file)) == []


def test_class_without_validation_images_keeps_its_folder(class_folders, tmp_path):
    """Otherwise torchvision and Keras would number the other classes differently."""
    folder = tmp_path / "imagenet"
    shutil.copytree(class_folders, folder)
    wnids = sorted(path.name for path in (folder / "val").iterdir())
    shutil.rmtree(folder / "val" / wnids[0])
    dataset = building.run(
        folder,
        tmp_path,
        grouping="all_classes",
        num_groups=None,
        formats="folders",
        min_validation_images=0,
        images_per_group=9,
    )
    for split in ("train", "val"):
        assert sorted(p.name for p in (dataset / "folders" / split).iterdir()) == wnids


def test_shards_hold_what_the_manifest_says(dataset):
    for shard, rows in itertools.groupby(
        building.manifest(dataset), key=lambda row: row["file"]
    ):
        members = making.read_tar(dataset / shard)
        expected = [f"{row['key']}.jpg" for row in rows]
        assert [name for name in members if name.endswith(".jpg")] == expected


def test_no_temporary_files_remain_beside_the_dataset(mini_imagenet, tmp_path):
    building.run(mini_imagenet, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["1.0.0"]


def test_index_is_accepted_instead_of_raw_images(mini_index, tmp_path, dataset):
    again = building.run(mini_index, tmp_path)
    assert building.checksums(again) == building.checksums(dataset)
    shutil.rmtree(again)
