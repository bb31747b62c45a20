"""Test `evaluate --training_free`, the comparison of all recipes without training."""

import csv
import json

import numpy as np
import pytest

from pipelines import evaluate
from pipelines.training_free import compare_recipes
from tests import making_predictions
from transforms import grouping
from transforms.labels import class_lists


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    paths = making_predictions.write_top5(folder)
    with np.load(paths[0]) as good:
        top5 = good["top5"].copy()
    top5[::7, 0] = (top5[::7, 0] + 500) % 1000  # not the errors of the others
    np.savez_compressed(folder / "other.npz", top5=top5)
    return [*paths, folder / "other.npz"]


def run(files, output, *flags):
    names = [str(path) for path in files]
    evaluate.main([
        "--training_free",
        "--predictions",
        *names,
        "--output",
        str(output),
        *flags,
    ])
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def test_all_groupings_and_lists_are_compared(files, tmp_path, capsys):
    written = run(files, tmp_path / "a", "--num_groups", "10", "--draws", "3")
    assert list(written) == [
        "figures/training_free.pdf",
        "figures/training_free.svg",
        "training_free.csv",
        "training_free.html",
        "training_free.json",
    ]
    rows = list(csv.DictReader(written["training_free.csv"].decode().splitlines()))
    by_flag = [m for m in grouping.METHODS
               if grouping.find_num_groups_source(m) == "flag"]  # fmt: skip
    assert {row["recipe"] for row in rows} == {*by_flag, *class_lists.NAMES}
    draws = {row["recipe"]: (row["num_draws"], row["drawn_by"]) for row in rows}
    assert draws["random_groups"] == draws["random_classes"] == ("3", "seeds")
    assert draws["wordnet"] == draws["curated"] == draws["confusion"] == ("1", "")
    report = json.loads(written["training_free.json"])
    assert report["donors"] == ["other"]  # of median accuracy
    assert report["models"] == ["good", "fair", "poor"]
    page = written["training_free.html"].decode()
    assert "What this table cannot show" in page
    assert "look best for a trivial reason" in page
    assert "N = 10: " in capsys.readouterr().err
    assert run(files, tmp_path / "b", "--num_groups=10", "--draws=3") == written


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training_free"], "--predictions: is required with --training_free"),
        (["--draws", "3", "--accuracies", "a.csv"], "--draws: applies only with --tr"),
        (
            ["--donors", "a", "--accuracies", "a.csv"],
            "--donors: applies only with --tr",
        ),
        (
            ["--training_free", "--predictions", "a.npz", "--groups", "b.csv"],
            "--groups: cannot be combined with --training_free",
        ),
        (
            ["--training_free", "--predictions", "a.npz", "--num_groups", "2000"],
            "--num_groups 2000: there are only 1000 classes",
        ),
    ],
)
def test_wrong_flags_are_refused(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as caught:
        evaluate.main([*flags, "--output", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_ranked_donors_and_too_few_models_are_refused(files, tmp_path, capsys):
    twin = tmp_path / "twin.npz"
    twin.write_bytes(files[0].read_bytes())
    for given, flags, message in (
        ([*files, twin], ["--donors=good"], "must not be ranked"),
        (files[:3], [], "2 models without the donors (fair); a ranking needs 3"),
    ):
        with pytest.raises(SystemExit):
            run(given, tmp_path / "out", *flags)
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out" / "training_free.csv").exists()


@pytest.mark.real
def test_published_models_are_ranked_as_measured_independently(real_data):
    files = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    table = compare_recipes(files, group_counts=(10,), num_draws=20, seed=0)
    tau = {(row.name, row.answers): row.tau for row in table.rows}
    for name, expected in (
        ("random_groups", 0.993),
        ("wordnet", 0.970),
        ("curated", 0.975),
        ("confusion", 0.969),
        ("random_classes", 0.819),
    ):
        assert tau[name, "all"] == pytest.approx(expected, abs=0.01), name
    for name, expected in (
        ("imagenette", 0.729),
        ("imagewoof", 0.691),
        ("scan_50", 0.928),
        ("imagenet100_der", 0.870),
        ("mini_imagenet", 0.942),
    ):
        assert tau[name, "own"] == pytest.approx(expected, abs=0.01), name
    (row,) = (r for r in table.rows if (r.name, r.answers) == ("random_classes", "all"))
    assert row.ceiling == pytest.approx(0.851, abs=0.01)
