"""Test the study job on the miniature."""

import csv
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import study
from pipelines.cli import parse
from pipelines.commands import Step
from pipelines.step_runner import Runner, acquire_folder
from pipelines.studying import plan as study_plan
from pipelines.studying import run
from pipelines.studying.options import StudyOptions
from transforms.records import UsageError

RECIPES = [
    {
        "name": "pairs",
        "grouping": "random_groups",
        "num_groups": 3,
        "images_per_group": 20,
    },
    {
        "name": "mixed",
        "grouping": "confusion",
        "num_groups": 2,
        "images_per_group": 20,
        "sampling": "difficulty",
    },
]
FLAGS = {
    "models": "linear,mlp,cnn_small",
    "epochs": "2",
    "subset_epochs": "1",
    "batch_size": "32",
    "image_size": "32",
    "train_size": "16",
    "reference_model": "mlp",
}
FIRST_MODEL = "models/full/linear/seed0/model.json"


class InThisProcess(Runner):
    """Runs steps in this process, so TensorFlow starts once."""

    def _run(self, step: Step) -> tuple[int, list[str]]:
        try:
            importlib.import_module(f"pipelines.{step.job}").main(list(step.words))
        except SystemExit as error:
            return int(error.code or 0), [f"{step.name} was refused"]
        return 0, []


@pytest.fixture(scope="session")
def recipes(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "recipes.json"
    path.write_text(json.dumps(RECIPES))
    return path


def read_json(path: Path) -> dict:
    return json.loads(path.read_bytes())


def command_line(imagenet: Path, output: Path, **flags: object) -> list[str]:
    chosen = {"input": imagenet, "output": output, **FLAGS, **flags}
    return [f"--{name}={value}" for name, value in chosen.items() if value is not None]


def run_here(words: list[str]) -> None:
    """Run a study in this process."""
    options, _, _ = parse(StudyOptions, words, prog="", takes_beam_flags=False)
    root = options.output
    with acquire_folder(root) as lock:
        runner = InThisProcess(root, lock)
        run.run_study(study_plan.plan(options, root, runner), runner)


def refuse(capsys, words: list[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        study.main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def kill_behind(file: Path, words: list[str]) -> None:
    """Start a study, and kill it and its step as soon as a file exists."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "pipelines.study", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not file.exists():
        assert begun.poll() is None, begun.communicate()[1]
        time.sleep(0.02)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.communicate()
    while is_held(file.parents[4]):  # until the last process is gone
        time.sleep(0.02)


def is_held(root: Path) -> bool:
    try:
        with acquire_folder(str(root)):
            return False
    except UsageError:
        return True


@pytest.fixture(scope="session")
def killed(mini_imagenet: Path, recipes: Path, tmp_path_factory) -> Path:
    """A study that was killed after its first trained model and resumed."""
    root = tmp_path_factory.mktemp("killed") / "study"
    words = command_line(mini_imagenet, root, recipes=recipes)
    kill_behind(root / FIRST_MODEL, words)
    assert not (root / "study.json").exists()
    run_here(words)
    return root


def test_killed_study_is_resumed_to_the_same_results(
    killed, mini_imagenet, recipes, tmp_path
):
    words = command_line(
        mini_imagenet,
        tmp_path / "whole",
        recipes=recipes,
        confusion=killed / "confusion/confusion.npz",  # the same, made beforehand
        difficulty=killed / "difficulty/difficulty.parquet",
    )
    run_here(words)
    assert not (tmp_path / "whole/datasets/halves").exists()
    for name in ("study.json", "study.csv", "study.html", "study.svg"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_results_have_one_row_per_recipe_with_a_link(killed):
    found = read_json(killed / "study.json")
    assert [row["rank"] for row in found["recipes"]] == [1, 2]
    assert (found["epochs"], found["subset_epochs"]) == (2, 1)
    assert found["left_out"] == found["waiting"] == []
    rows = {row["recipe"]: row for row in found["recipes"]}
    assert (rows["pairs"]["num_groups"], rows["pairs"]["train_images"]) == (3, 60)
    assert (rows["mixed"]["num_groups"], rows["mixed"]["train_images"]) == (2, 40)
    assert rows["mixed"]["flags"]["grouping"] == "confusion"
    with (killed / "study.csv").open() as file:
        listed = [row["recipe"] for row in csv.DictReader(file)]
    assert listed == list(rows)
    assert {path.name for path in (killed / "correctness").iterdir()} == {
        "full_seed0.npz",
        *(f"{name}_seed0.npz" for name in rows),
    }
    page = (killed / "study.html").read_text()
    for name in rows:
        report = read_json(killed / f"evaluations/{name}/report.json")
        assert report["subsets"][0]["ranks"]["tau"] == rows[name]["tau"]
        assert f'href="evaluations/{name}/report.html"' in page
    assert str(killed) not in page + (killed / "study.json").read_text()


def test_confusion_and_difficulty_come_from_the_model_of_the_other_half(killed):
    table = pq.read_table(killed / "difficulty/difficulty.parquet").to_pylist()
    assert len(table) == 120
    assert {row["fold"] for row in table} == {"a", "b"}
    assert (killed / "models/fold_a/mlp/seed0/model.json").exists()
    assert not (killed / "models/fold_a/linear").exists()
    used = read_json(killed / "datasets/mixed/1.0.0/__meta__/recipe.json")
    assert used["grouping"] == "confusion"


def test_repeated_command_does_nothing(killed, mini_imagenet, recipes, capsys):
    root = killed
    before = (root / "study.json").read_bytes()
    study.main(command_line(mini_imagenet, root, recipes=recipes))
    told = capsys.readouterr()
    assert told.out == f"{root}\n"
    assert "step " not in told.err
    assert "no training is left" in told.err
    assert (root / "study.json").read_bytes() == before


def test_finished_study_needs_no_models_and_datasets(
    killed, mini_imagenet, recipes, tmp_path
):
    root = shutil.copytree(killed, tmp_path / "freed")
    for name in ("models", "datasets", "predictions"):
        shutil.rmtree(root / name)
    run_here(command_line(mini_imagenet, root, recipes=recipes))
    assert not any((root / name).exists() for name in ("models", "datasets"))
    for name in ("study.json", "recipes.csv"):
        assert (root / name).read_bytes() == (killed / name).read_bytes()


def test_study_continues_on_another_machine_from_its_small_files(
    killed, mini_imagenet, recipes, tmp_path, capsys
):
    root = tmp_path / "study"
    for name in ("curves", "correctness", "confusion", "difficulty", ".steps"):
        shutil.copytree(killed / name, root / name)
    (root / ".steps/index.json").unlink()
    imagenet = shutil.copytree(mini_imagenet, tmp_path / "elsewhere")
    run_here(command_line(imagenet, root, recipes=recipes))
    run_steps = re.findall("step .*: (.*)", capsys.readouterr().err)
    assert run_steps == [f"evaluate_{recipe['name']}" for recipe in RECIPES]
    assert not (root / "datasets").exists()
    for name in ("recipes.csv", "differences.csv", "effects.csv"):
        assert (root / name).read_bytes() == (killed / name).read_bytes()


def test_changed_recipe_that_is_refused_has_no_old_result(
    killed, mini_imagenet, tmp_path
):
    root = shutil.copytree(killed, tmp_path / "changed")
    scores = pq.read_table(killed / "difficulty/difficulty.parquet")
    pq.write_table(scores.slice(5), tmp_path / "part.parquet")
    table = str(tmp_path / "part.parquet")
    changed = {**RECIPES[0], "sampling": "difficulty", "difficulty": table}
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps([changed, RECIPES[1]]))
    shutil.rmtree(root / "datasets/pairs")
    run_here(command_line(mini_imagenet, root, recipes=path))
    found = read_json(root / "study.json")
    assert [row["recipe"] for row in found["recipes"]] == ["mixed"]
    assert [left["name"] for left in found["left_out"]] == ["pairs"]


def test_moved_study_skips_a_recipe_that_build_rejects(
    killed, mini_imagenet, tmp_path, capsys
):
    root = shutil.copytree(killed, tmp_path / "moved")
    scores = pq.read_table(killed / "difficulty/difficulty.parquet")
    pq.write_table(scores.slice(5), tmp_path / "part.parquet")
    short = {
        **RECIPES[0],
        "name": "short",
        "sampling": "difficulty",
        "difficulty": str(tmp_path / "part.parquet"),
    }
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps([*RECIPES, short]))
    run_here(command_line(mini_imagenet, root, recipes=path))
    # 9 steps are shared, and 3 belong to each recipe; only one of them is run.
    numbers = re.findall("step (.*)", capsys.readouterr().err)
    assert numbers == ["16 of 18: build_short"]
    found = read_json(root / "study.json")
    before = read_json(killed / "study.json")
    assert found["recipes"] == before["recipes"]
    (left,) = found["left_out"]
    assert left["name"] == "short"
    assert "short" in (root / "study.csv").read_text()
    assert "1 recipe left out" in (root / "study.html").read_text()


def test_another_input_is_rejected(killed, kaggle_tree, recipes, capsys):
    said = refuse(capsys, command_line(kaggle_tree, killed, recipes=recipes))
    assert "contains a study of another --input" in said


def test_changed_recipe_is_rejected(killed, mini_imagenet, tmp_path, capsys):
    root = killed
    changed = [{**RECIPES[0], "images_per_group": 15}, RECIPES[1]]
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(changed))
    said = refuse(capsys, command_line(mini_imagenet, root, recipes=path))
    (error,) = [line for line in said.splitlines() if "error: " in line]
    assert error.startswith("error: build_pairs: --output: ")
    assert "contains another dataset" in error


def test_second_study_in_one_folder_is_rejected(killed, mini_imagenet, recipes, capsys):
    root = killed
    words = command_line(mini_imagenet, root, recipes=recipes)
    with acquire_folder(str(root)):
        assert "another run, or its last step, is running there" in refuse(
            capsys, words
        )


def test_dry_run_prints_the_plan_and_writes_nothing(mini_imagenet, tmp_path, capsys):
    root = tmp_path / "study"
    study.main([*command_line(mini_imagenet, root), "--dry_run"])
    told = capsys.readouterr().out
    assert not root.exists()
    assert "sizes: the input is too small for the presets" in told
    assert "  wordnet_n2_m4: 2 groups, 8 training images" in told
    assert "wordnet_n2_m4_difficulty" in told
    assert "training: 3 models with 1 seed see" in told
    assert "GB free" in told
    assert "time: unknown until a model has been trained" in told


def test_all_infeasible_recipes_are_reported_before_building(
    mini_imagenet, tmp_path, capsys
):
    path = tmp_path / "recipes.json"
    many = {**RECIPES[0], "name": "many", "num_groups": 7}
    large = {**RECIPES[0], "name": "large", "images_per_group": 41}
    unknown = {**large, "name": "unknown", "grouping": "confusion"}
    path.write_text(json.dumps([*RECIPES, many, large, unknown]))
    root = tmp_path / "study"
    said = refuse(capsys, command_line(mini_imagenet, root, recipes=path))
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert "many: " in errors[0]
    assert "large: --images_per_group 41: too many for 3 of 3 groups" in errors[1]
    assert "unknown: --images_per_group 41: 3 groups need 123" in errors[2]
    assert not (root / "datasets").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"models": "linear,mpl"}, "vgg19, xception; did you mean mlp?"),
        ({"seeds": "0,x"}, "--seeds x: is not a whole number"),
        ({"seeds": "1,1"}, "--seeds 1: is given twice; give it once"),
        ({"epochs": "0"}, "--epochs 0: must be between 1 and 10000"),
        ({"subset_epochs": "0"}, "--subset_epochs 0: must be between 1 and 10000"),
        ({"learning_rate": "fast"}, "--learning_rate fast: is not a number"),
        ({"train_size": "4"}, "--train_size 4: must be"),
        ({"recipes": "gone.json"}, "--recipes gone.json: no such file"),
        (
            {"reference_model": "mpl"},
            "--reference_model mpl: is not one of linear",
        ),
        (
            {"output": "gs://b/study"},
            "--output gs://b/study: models are trained locally",
        ),
        (
            {"groups": "s3://b/groups.csv"},
            "--groups s3://b/groups.csv: must be a local",
        ),
        ({"models": "linear,mlp"}, "--models linear,mlp: a ranking needs at least 3"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_wrong_flags_are_named(mini_imagenet, tmp_path, capsys, flags, said):
    chosen = {"output": tmp_path / "study", **flags}
    words = command_line(mini_imagenet, **chosen)
    assert said in refuse(capsys, words)
    assert not (tmp_path / "study").exists()


def test_seeds_of_the_full_set_are_not_those_of_any_draw(
    mini_imagenet, tmp_path, capsys
):
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps([{**RECIPES[0], "draws": 2}]))
    words = command_line(
        mini_imagenet, tmp_path / "study", recipes=path, seeds="0", full_seeds="1,2"
    )
    said = refuse(capsys, [*words, "--dry_run"])
    assert "--full_seeds 1: is a seed of subsets too" in said
    assert "--seeds=3" in said


def test_missing_index_is_rejected(tmp_path, capsys):
    words = command_line(tmp_path / "gone.parquet", tmp_path / "study")
    assert "gone.parquet" in refuse(capsys, words)
