"""Test that the committed measurements, tables and pages of the studies agree."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from pipelines import study
from pipelines.cli import parse
from pipelines.commands import Places, Training
from pipelines.studying import measurements, recipes
from pipelines.studying.options import StudyOptions
from transforms.evaluation import correctness, designed
from transforms.evaluation.designed import Design

FOLDER = Path(__file__).parents[2] / "docs" / "study"
TRAINED = FOLDER / "trained"
PAGE = (FOLDER / "README.md").read_text()
FACTORS = ("labels", "sampler", "images seen", "epochs")


def read_rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def design() -> Design:
    """The analysis of the committed curves and correctness."""
    models = correctness.from_npz(
        (TRAINED / "correctness/full_seed0.npz").read_bytes()
    ).models
    full = _read("full", models, 0, 1)

    def measure(row: dict[str, str]) -> designed.Recipe:
        pattern = re.compile(rf"({row['recipe']}(?:_draw\d+)?)_seed(\d+)")
        draws = [
            _read(found[1], models, int(found[2]))
            for path in sorted((TRAINED / "curves").iterdir())
            if (found := pattern.fullmatch(path.stem))
        ]
        assert len(draws) == int(row["draws"])
        factors = {factor: row[factor] for factor in FACTORS}
        return measurements.make_recipe(row["recipe"], factors, draws, full)

    rows = {row["recipe"]: row for row in read_rows("trained/recipes.csv")}
    planned = recipes.read_recipes(str(TRAINED / "recipes.json"))
    measured = [measure(rows[r.name]) for r in planned if r.name in rows]
    finals = full.finals
    return designed.analyse(models, finals.accuracies, measured, finals.num_images_seen)


def _read(name: str, models: tuple[str, ...], *seeds: int) -> measurements.Measurements:
    curves = [str(TRAINED / f"curves/{name}_seed{seed}.csv") for seed in seeds]
    training = Training(models, seeds, 0, ())
    return measurements.read(Places(str(TRAINED)), name, training, curves)


@pytest.mark.parametrize("table", ["recipes", "differences", "effects"])
def test_measurements_give_the_tables(design, table):
    given = read_rows(f"trained/{table}.csv")
    computed = designed.to_tables(design)[table]
    assert len(computed) == len(given) > 0
    for row, expected in zip(computed, given, strict=True):
        assert list(row) == list(expected)
        for name, text in expected.items():
            value = row[name]
            if isinstance(value, float):
                assert value == pytest.approx(float(text), abs=1e-9), name
            else:
                assert ("" if value is None else str(value)) == text


def test_page_agrees_with_the_table():
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| `\w+` \|", line)
    ]
    assert shown == [
        [
            f"`{row['recipe']}`",
            row["labels"],
            row["sampler"],
            row["epochs"],
            row["images seen"],
            f"{float(row['tau']):.2f} ({float(row['tau_low']):.2f} to "
            f"{float(row['tau_high']):.2f})",
            f"{float(row['ceiling']):.2f}",
            f"{100 * float(row['regret']):.1f}",
            "yes" if row["is_worse_than_best"] == "True" else "",
        ]
        for row in read_rows("trained/recipes.csv")
    ]


def test_commands_of_the_page_are_valid(monkeypatch):
    monkeypatch.chdir(FOLDER.parents[1])
    text = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    copy, command = (shlex.split(c) for c in text.replace("\\\n", " ").splitlines())
    assert copy[:2] == ["cp", "-r"]
    assert Path(copy[2]).is_dir()
    assert command[:3] == ["python", "-m", study.__name__]
    options, *_ = parse(StudyOptions, command[3:], prog="study")
    assert options.output == copy[3]
    planned = {recipe.name for recipe in recipes.read_recipes(options.recipes)}
    assert {row["recipe"] for row in read_rows("trained/recipes.csv")} <= planned


def test_stored_correctness_agrees_with_the_curves():
    stored = list((TRAINED / "correctness").glob("*.npz"))
    assert {path.stem for path in stored} == {
        path.stem for path in (TRAINED / "curves").iterdir()
    }
    for path in stored:
        curves = str(TRAINED / f"curves/{path.stem}.csv")
        found = correctness.from_npz(path.read_bytes())
        finals = designed.read_finals([curves], found.models)
        assert found.correct.mean(axis=1) == pytest.approx(finals.accuracies[0])


def test_training_free_page_agrees_with_its_table():
    rows = [row for row in read_rows("training_free.csv") if row["answers"] == "all"]
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
