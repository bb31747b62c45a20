"""Test that curves, table and page of the study in docs agree."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from pipelines import evaluate, study
from pipelines.cli import parse
from pipelines.studying import recipes
from pipelines.studying.options import StudyOptions
from transforms.evaluation import correctness, designed

FOLDER = Path(__file__).parents[2] / "docs" / "study"
PAGE = (FOLDER / "README.md").read_text()


@pytest.fixture(scope="module")
def table():
    with (FOLDER / "study.csv").open() as file:
        return {row["recipe"]: row for row in csv.DictReader(file)}


def test_curves_give_the_ranks_and_verdicts(table, tmp_path):
    """Convergence needs per-image predictions, which are not committed."""
    curves = FOLDER / "curves"
    subsets = [str(path) for path in curves.glob("*.csv") if path.stem != "full"]
    full = ["--full", str(curves / "full.csv"), "--output", str(tmp_path)]
    evaluate.main([*full, "--subset", *subsets])
    report = json.loads((tmp_path / "report.json").read_text())
    found = {subset["dataset"]: subset for subset in report["subsets"]}
    assert found.keys() == table.keys()
    for name, row in table.items():
        subset = found[name]
        assert subset["ranks"]["tau"] == pytest.approx(float(row["tau"]), abs=1e-6)
        assert subset["ranks"]["regret"] == float(row["regret"])
        assert subset["verdict"]["value"] == row["verdict"]


def test_page_agrees_with_the_table(table):
    found = [
        line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| `.* × ", line)
    ]
    cells = [[cell.strip("| ") for cell in line] for line in found if len(line) == 7]
    names = [re.match(r"`(\w+)`(, flat)?", line[0]).groups() for line in cells]
    assert [[*line[1:3], line[4], line[6]] for line in cells] == [
        [
            f"{row['num_groups']} × {row['images_per_group']}",
            f"{float(row['tau']):.2f} ({float(row['tau_low']):.2f} to "
            f"{float(row['tau_high']):.0f})",
            f"{int(row['images_until_convergence_subset']):,}",
            row["verdict"],
        ]
        for row in table.values()
    ]
    assert [float(line[5].split()[0]) for line in cells] == [
        round(float(row["gain"]), 1) for row in table.values()
    ]
    for (method, is_flat), recipe in zip(names, table, strict=True):
        assert recipe.split("_n")[0] == method
        assert recipe.endswith("_difficulty") == bool(is_flat)


def test_commands_of_the_page_are_valid(monkeypatch):
    monkeypatch.chdir(FOLDER.parents[1])
    text = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    again, *studies = (shlex.split(c) for c in text.replace("\\\n", " ").splitlines())
    assert again[:3] == ["python", "-m", evaluate.__name__]
    assert all(Path(word).exists() for word in again if word.startswith("docs/"))
    for words in studies:
        if words[:2] == ["cp", "-r"]:
            assert Path(words[2]).is_dir()
            continue
        assert words[:3] == ["python", "-m", study.__name__]
        options, *_ = parse(StudyOptions, words[3:], prog="study")
        assert recipes.read_recipes(options.recipes)


def test_stored_correctness_agrees_with_the_curves():
    stored = list((FOLDER / "trained/correctness").glob("*.npz"))
    assert stored
    for path in stored:
        curves = str(FOLDER / f"trained/curves/{path.stem}.csv")
        found = correctness.from_npz(path.read_bytes())
        finals = designed.read_finals([curves], found.models)
        assert found.correct.mean(axis=1) == pytest.approx(finals.accuracies[0])


def test_training_free_page_agrees_with_its_table():
    with (FOLDER / "training_free.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["answers"] == "all"]
    expected = {
        (row["recipe"], row["num_groups"]): [
            f"{float(row['tau']):.3f} ({float(row['tau_low']):.3f} to "
            f"{float(row['tau_high']):.3f})",
            f"{float(row['ceiling']):.3f}",
            f"{float(row['regret_points']):.2f}",
            f"{int(row['num_images']):,}",
        ]
        for row in rows
    }
    page = (FOLDER / "training_free.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in page.splitlines()]
    shown = {
        (cells[0].strip("`"), cells[1]): [cells[2], cells[4], cells[9], cells[11]]
        for cells in lines
        if len(cells) == 12 and cells[0].startswith("`")
    }
    assert shown == expected
