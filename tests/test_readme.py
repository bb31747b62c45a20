"""Every command and snippet of the README is run here, on the miniature ImageNet."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from transforms.labels.classes import class_index
from transforms.labels.validation import official_labels
from transforms.miniature import archives as miniature

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# The miniature has fewer classes and images than ImageNet.
SCALED = {
    "--num_groups 20 --images_per_group 5000": "--num_groups 2 --images_per_group 20",
    "--num_groups 100 --images_per_group 500": "--num_groups 3 --images_per_group 10",
    "random_groups_n20_m5000": "random_groups_n2_m20",
}


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands():
    text = "".join(_blocks("sh")).replace("\\\n", " ")
    text = re.sub(r" +", " ", text)
    for real, scaled in SCALED.items():
        assert real in text
        text = text.replace(real, scaled)
    return text.splitlines()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with ImageNet in it, as a reader of the README has one."""
    folder = tmp_path_factory.mktemp("reader")
    miniature.write_miniature(
        str(folder / "IMAGENET"), num_classes=6, num_train=60, num_validation=10
    )
    models = {"alexnet": 2, "vgg16": 3, "densenet121": 5, "resnet34": 10}
    for name, every in models.items():
        _predict(folder / f"{name}.npz", every)
    return folder


def _predict(path, every):
    """Write predictions of which every n-th is wrong, by a class farther on."""
    truth = np.array([class_index(wnid) for wnid in official_labels().values()])
    first = truth.copy()
    first[::every] = (first[::every] + 5 * every) % 1000
    top5 = [first, *((truth + step) % 1000 for step in (2, 3, 4, 5))]
    np.savez_compressed(path, top5=np.stack(top5, axis=1).astype(np.uint16))


def test_commands_run_in_their_order(workplace):
    for command in _commands():
        words = shlex.split(command)
        if words[0] == "make":
            shown = subprocess.run(
                ["make", "--dry-run", "--always-make", *words[1:]],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"]},  # not that of a make around this
                capture_output=True,
                text=True,
                check=True,
            )
            words = shlex.split(shown.stdout.splitlines()[-1])
            assert words[1:] == ["-m", "pipelines.build"]
        assert words[0] in {"python", ".venv/bin/python"}
        if "pipelines.build" in words and "--input" in words:
            words.append("--min_validation_images=40")
        finished = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=workplace,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, f"{command}\n{finished.stderr}"
        if "--compare" in words:
            table = finished.stdout.partition("\n\n")[0].splitlines()
            undefined = [line for line in table if " - " in line]
            assert all("own classes" in line for line in undefined), undefined


def test_snippets_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    assert Path("subsets/demonstration/1.0.0").is_dir()
    for code in _blocks("python"):
        names: dict = {}
        exec(code, names)
        assert names["image"].mode == "RGB"
        assert 0 <= names["label"] < 10


def test_files_and_methods_that_it_names_exist():
    for path in re.findall(r"`((?:transforms|pipelines|docs)/[a-z_./]*)`", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / path).exists(), path
    for folder in ("grouping", "sampling"):
        for module in (ROOT / "transforms" / folder / "methods").glob("[a-z]*.py"):
            assert re.search(rf"`[^`]*\b{module.stem}`", README), module


PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*/*.md", "transforms/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page):
    for link in re.findall(r"\]\(((?!\w+:|#)[^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_paths_of_the_architecture_page_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for path in re.findall(r"`((?:transforms|pipelines|tests|deploy)/[\w./]*)`", text):
        assert (ROOT / path).exists(), path


def test_it_is_short():
    assert len(README.splitlines()) <= 150
