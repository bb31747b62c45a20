"""Test plug-ins: a grouping, sampler, layout, format or reader is one file.

The modules in `tests/plugins` are added to their packages in the processes of jobs,
which then run from raw images to a verified dataset.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import building, making

ROOT = Path(__file__).parent.parent
PLUGINS = ROOT / "tests" / "plugins"


def run(
    job: str, *words: object, expected_code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a job in a process that has the plug-ins."""
    done = subprocess.run(
        [sys.executable, "-m", f"pipelines.{job}", *map(str, words)],
        env=os.environ | {"PYTHONPATH": f"{PLUGINS}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == expected_code, done.stderr
    return done


@pytest.fixture(scope="module")
def one_folder(class_folders: Path, tmp_path_factory) -> Path:
    """Write images in the layout of the plug-ins."""
    root = tmp_path_factory.mktemp("plugins") / "imagenet"
    for split, folder in (("train", "train"), ("validation", "val")):
        target = root / f"one_folder_{split}"
        target.mkdir(parents=True)
        for path in class_folders.glob(f"{folder}/*/*.JPEG"):
            wnid = path.parent.name
            is_named = path.name.startswith(wnid)
            shutil.copy(
                path, target / (path.name if is_named else f"{wnid}-{path.name}")
            )
    return root


@pytest.fixture(scope="module")
def built(one_folder: Path, tmp_path_factory) -> tuple[Path, str]:
    """Build with all plug-ins; return the dataset's directory and the output."""
    done = run(
        "build",
        f"--input={one_folder}",
        f"--output={tmp_path_factory.mktemp('built')}",
        "--grouping=alphabet",
        "--alphabet_reverse",
        "--sampling=first_keys",
        "--num_groups=3",
        "--images_per_group=15",
        "--min_validation_images=0",
        "--image_size=32",
        "--images_per_shard=20",
        "--formats=folders,joined",
        "--name=plugged",
    )
    return Path(done.stdout.splitlines()[-1]), done.stderr


def test_images_are_selected_by_the_plug_ins(built, one_folder):
    directory, _ = built
    rows = building.manifest(directory)
    assert Counter(
        row["label"] for row in rows if row["split"] == "train"
    ) == dict.fromkeys(range(3), 15)
    groups = json.loads((directory / "classes.json").read_bytes())
    for group in groups:
        chosen = {
            row["key"]
            for row in rows
            if row["split"] == "train" and row["label"] == group["label"]
        }
        keys = sorted(
            path.stem
            for path in (one_folder / "one_folder_train").iterdir()
            if path.name[:9] in group["wnids"]
        )
        assert chosen == set(keys[:15])


def test_summary_and_card_show_how_to_load_the_format(built):
    directory, said = built
    assert f'open("{directory}/joined/train")' in said
    assert "found one folder a split" in said
    card = (directory / "README.md").read_text()
    assert "Read PATH/TO/plugged/1.0.0/joined line by line." in card


def test_verification_opens_the_format_with_its_reader(built):
    table = run("verify", built[0]).stdout.splitlines()
    (row,) = (line for line in table if line.startswith("opened with joined_lines"))
    assert row.split("|")[1].strip() == "ok"
    assert "75 images" in row  # 45 for training, 30 for validation
    assert table[-1].startswith("ok: ")


def test_damage_in_the_format_is_found(built, tmp_path):
    directory = tmp_path / "damaged"
    shutil.copytree(built[0], directory)
    path = next(directory.glob("joined/*-train-*.joined"))
    path.write_bytes(path.read_bytes().replace(b", 1, ", b", 2, ", 1))
    verdict = run("verify", directory, expected_code=1).stdout.splitlines()[-1]
    assert "opened with joined_lines" in verdict


def test_classes_are_grouped_by_the_plug_in(tmp_path):
    run("group", "--grouping=alphabet", "--num_groups=4", f"--output={tmp_path}")
    groups = json.loads((tmp_path / "groups.json").read_bytes())
    assert groups["grouping"] == "alphabet"
    assert groups["sizes"]["num_groups"] == 4


def test_a_study_compares_the_plug_ins(one_folder, tmp_path):
    words = (f"--input={one_folder}", f"--output={tmp_path}", "--dry_run")
    plan = run("study", *words).stdout
    assert "  alphabet_n2_m" in plan
    assert any(
        line.startswith("  wordnet_n2_m") and "_first_keys: " in line
        for line in plan.splitlines()
    )


def test_help_has_the_flags_of_plug_ins():
    text = run("build", "--help").stdout
    for expected in ("--alphabet_reverse", "--first_keys_reverse", "|joined|"):
        assert expected in text


def test_expected_layouts_are_named(tmp_path):
    making.write_files(tmp_path, {"notes.txt": b""})
    words = (f"--input={tmp_path}", f"--output={tmp_path}/index.parquet")
    said = run("index", *words, expected_code=2).stderr
    assert "one_folder_train/nXXXXXXXX*.JPEG" in said
