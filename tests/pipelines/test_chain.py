"""The steps of the chain; tests/test_chain.py runs them."""

import ast
import shlex
import sys
from pathlib import Path

import pytest

from pipelines import chain, commands
from pipelines.commands import Places
from transforms.dataset import paths
from transforms.records import UsageError

ROOT = Path(__file__).parents[2]


def _list_commands(capsys, *words: str) -> tuple[str, list[list[str]]]:
    chain.main([*words, "--dry_run"])
    shown = capsys.readouterr()
    return shown.err, [shlex.split(line) for line in shown.out.splitlines()]


def test_defaults_are_those_of_imagenet_or_of_the_miniature(capsys, tmp_path):
    flags = [f"--output={tmp_path}/chain"]
    (images := tmp_path / "Image Net").mkdir()
    shown, listed = _list_commands(capsys, *flags, f"--input={images}")
    assert "20 groups of 5000 training images" in shown
    assert "224 pixels; resnet50 is trained on each half for 32 epochs" in shown
    assert listed[0][2:5] == ["pipelines.index", "--input", str(images)]
    assert {"--models=resnet50", "--epochs=32"} < set(listed[2])
    assert {"--num_groups=20", "--image_size=224"} < set(listed[-1])
    shown, listed = _list_commands(capsys, *flags, "--epochs=3")
    assert "64 pixels; cnn_small is trained on each half for 3 epochs" in shown
    assert {"--models=cnn_small", "--epochs=3"} < set(listed[3])
    assert list(tmp_path.iterdir()) == [images]


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_all_problems_are_reported_at_once(capsys, path):
    flags = [f"--input={path}", "--name=halves", "--model=resnet", "--dry_run"]
    with pytest.raises(SystemExit):
        chain.main(["--output=gs://b/c", *flags])
    lines = capsys.readouterr().err.splitlines()
    flags = [line.removeprefix("error: ").split()[0].rstrip(":") for line in lines]
    assert sorted(flags) == ["--input", "--model", "--name", "--output"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_groups": 1001}, "--num_groups 1001: the input has"),
        ({"min_validation_images": 10**6}, "are held out to reach"),
        ({"images_per_group": 10**6}, "groups need 2000000 training images"),
        ({}, None),
    ],
)
def test_too_large_a_subset_is_refused_before_training(mini_index, flags, message):
    small = {"num_groups": 2, "images_per_group": 1, "min_validation_images": 0}
    options = chain.ChainOptions(**small | flags)
    if message is None:
        chain.check_size(options, str(mini_index))
        return
    with pytest.raises(UsageError, match=message):
        chain.check_size(options, str(mini_index))


def test_another_name_builds_another_subset_with_the_same_models():
    options = (
        chain.ChainOptions(input=("a.tar",)),
        chain.ChainOptions(input=("a.tar",), name="small", images_per_group=10),
    )
    flat, small = (chain.list_steps(o, Places("/c", datasets="/c")) for o in options)
    assert flat[:-2] == small[:-2]
    assert [s.name for s in small[-2:]] == ["plan_small", "build_small"]


def test_airflow_imports_the_commands_alone():
    link = ROOT / "deploy/airflow/dags/imagenet_commands.py"
    assert link.resolve() == Path(commands.__file__).resolve()
    for node in ast.walk(ast.parse(link.read_text())):
        names = [alias.name for alias in getattr(node, "names", [])]
        names = [node.module] if isinstance(node, ast.ImportFrom) else names
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert {n.split(".")[0] for n in names} <= sys.stdlib_module_names
    assert commands.COMPLETE == paths.COMPLETE
