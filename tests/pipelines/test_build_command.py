"""The command in the card builds the same dataset again, from any folder."""

import re
import shlex
from pathlib import Path

import pytest

from pipelines import build
from pipelines.building import recipe
from pipelines.building.options import BuildOptions
from tests import building
from transforms import grouping, sampling


def read_command(dataset: Path) -> list[str]:
    text = (dataset / "README.md").read_text()
    (block,) = re.findall(r"Build it again\n\n```sh\n(.*?)```", text, re.DOTALL)
    return shlex.split(block.replace("\\\n", " "))


def run_command(dataset: Path, output: Path, **places: object) -> Path:
    """Run the command of a card with its placeholders replaced."""
    python, flag, module, *words = read_command(dataset)
    assert [python, flag, module] == ["python", "-m", "pipelines.build"]
    words = [str(places.get(word, word)) for word in words]
    words = [word.replace("PATH/TO", str(dataset.parents[1])) for word in words]
    build.main([*words, f"--output={output}"])
    return output / dataset.parent.name / dataset.name


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seed": 7, "upscale": True, "formats": "tfrecord,folders", "folds": 2},
        {
            "grouping": "all_classes",
            "num_groups": None,
            "images_per_group": None,
            "min_validation_images": None,
            "allow_small_validation": True,
            "name": None,
        },
        {"grouping": "random_classes", "images_per_group": 7},
        {"grouping": "wordnet", "wordnet_rule": "pure", "jpeg_quality": 70},
    ],
    ids=["small", "folds", "all classes", "random classes", "wordnet"],
)
def test_command_builds_the_same_bytes(mini_imagenet, tmp_path, change):
    words = building.command_line(mini_imagenet, tmp_path / "a", **change)
    build.main(words)
    (dataset,) = (tmp_path / "a").glob("*/1.0.0")
    again = run_command(dataset, tmp_path / "b", PATH_TO_IMAGENET=mini_imagenet)
    assert building.checksums(again) == building.checksums(dataset)


def test_table_of_groups_is_replaced_by_that_of_the_dataset(mini_imagenet, tmp_path):
    first = building.run(mini_imagenet, tmp_path / "first")
    table = tmp_path / "my_groups.csv"
    table.write_bytes((first / "__meta__/groups.csv").read_bytes())
    change = {"grouping": "manual", "groups": table, "num_groups": None}
    dataset = building.run(mini_imagenet, tmp_path / "a", **change)
    assert "PATH/TO/small/1.0.0/__meta__/groups.csv" in read_command(dataset)
    again = run_command(dataset, tmp_path / "b", PATH_TO_IMAGENET=mini_imagenet)
    assert building.checksums(again) == building.checksums(dataset)


def test_command_holds_no_path_of_the_machine():
    options = BuildOptions(
        input=("/home/me/imagenet",),
        validation_labels="/home/me/labels.csv",
        grouping="confusion",
        confusion="/home/me/c.npz",
        sampling="difficulty",
        difficulty="/home/me/d.parquet",
        num_groups=3,
        images_per_group=5,
        output="/home/me/out",
        threads=3,
        name="n",
    ).expand_preset()
    command = recipe.format_command(
        options,
        grouping_options=grouping.load("confusion").Options(),
        sampling_options=sampling.load("difficulty").Options(
            rule="easiest", drop_hardest=0.1
        ),
    )
    assert command == (
        "python -m pipelines.build --input PATH_TO_IMAGENET --grouping confusion "
        "--num_groups 3 --confusion PATH_TO_CONFUSION --images_per_group 5 "
        "--sampling difficulty --difficulty PATH_TO_DIFFICULTY --name n "
        "--difficulty_rule easiest --difficulty_drop_hardest 0.1"
    )


def test_command_gives_a_preset_by_its_name():
    options = BuildOptions(input=("i",), preset="n20_m5000", name="n").expand_preset()
    command = recipe.format_command(
        options,
        grouping_options=grouping.load("wordnet").Options(),
        sampling_options=sampling.load("uniform").Options(),
    )
    assert command.endswith("--input PATH_TO_IMAGENET --preset n20_m5000 --name n")
