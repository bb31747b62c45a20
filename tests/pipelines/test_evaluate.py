"""Test the evaluate job with curves, predictions and accuracies."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from pipelines import evaluate
from pipelines.evaluate import name_tables
from tests import making_curves, making_logs, making_predictions
from tests.making_curves import SUBSET_ID, rows
from transforms.labels import classes
from transforms.labels.validation import official_labels
from transforms.records import UsageError

NAMES = ("a", "b", "c", "d", "e", "f")
CURVES = {name: [0.5 - 0.05 * n, 0.9 - 0.05 * n] for n, name in enumerate(NAMES)}
LATE = CURVES | {"a": [0.1, 0.9]}


@pytest.fixture
def runs(tmp_path):
    """Folders of runs, as `pipelines.train` writes them."""
    for seed in (0, 1):
        for name in NAMES:
            making_curves.write(
                tmp_path / f"full/{name}/seed{seed}/curves.csv",
                rows({name: LATE[name]}, seed=seed),
            )
            making_curves.write(
                tmp_path / f"small/{name}/seed{seed}/curves.csv",
                rows({name: CURVES[name]}, seed=seed, subset_id=SUBSET_ID),
            )
    return tmp_path


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    wnids = list(official_labels().values())
    truth = np.array([classes.class_index(wnid) for wnid in wnids])
    for name, every in (("good", 10), ("fair", 5), ("poor", 3)):
        first = truth.copy()
        first[::every] ^= 1
        top5 = np.stack([first, *((first + step) % 1000 for step in (2, 3, 4, 5))], 1)
        np.savez_compressed(folder / f"{name}.npz", top5=top5.astype(np.uint16))
    return folder


def run(tmp_path, *flags):
    output = tmp_path / "report"
    evaluate.main([*map(str, flags), "--output", str(output)])
    return output, json.loads((output / "report.json").read_bytes())


def fails(capsys, *flags):
    with pytest.raises(SystemExit) as caught:
        evaluate.main([*map(str, flags)])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_curves_of_folders_are_evaluated(runs, tmp_path, capsys):
    output, report = run(tmp_path, "--full", runs / "full", "--subset", runs / "small")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(output)
    assert report["kind"] == "curves"
    assert [m["model"] for m in report["full"]["models"]] == list(NAMES)
    assert report["full"]["models"][0]["runs"][1]["seed"] == 1
    assert report["subsets"][0]["gain"] == 2
    assert (output / "report.html").read_bytes().startswith(b"<!doctype html>")
    # all pairs of the subset differ significantly from the first epoch, those of the
    # full set do not
    assert "small aaaaaaaa: useful; it keeps the order of 15 of the 15 pairs" in err
    assert "warning: full ffffffff: the ranking converges in the last epoch only" in err


def test_predictions_beside_curves_enable_paired_tests(tmp_path):
    keys = [f"image{number}" for number in range(200)]
    truth = ["n01440764", "n01484850"] * 100
    rng = np.random.default_rng(0)
    flags = []
    for which, subset_id in (("full", "ff"), ("small", "aa")):
        for share, name in ((0.9, "a"), (0.7, "b"), (0.5, "c")):
            place = tmp_path / which / name / "seed0"
            right = rng.random(200) < share
            curves = {name: [0.1, float(right.mean())]}
            settings = {"subset_id": subset_id, "validation_images": 200}
            making_curves.write(place / "curves.csv", rows(curves, **settings))
            scored = making_predictions.scored(["n01440764", "n01484850"], name)
            labels = np.array([0, 1] * 100)
            answers = np.eye(2)[np.where(right, labels, 1 - labels)]
            table = making_predictions.rows(scored, keys, truth, answers)
            making_predictions.write(place / "predictions.parquet", [scored], table)
        flags += [f"--{which}".replace("small", "subset"), tmp_path / which]
    _, report = run(tmp_path, *flags)
    assert report["full"]["pairs_compared_by"] == "images"
    assert report["subsets"][0]["pairs_compared_by"] == "images"


def test_several_subsets_may_be_given(runs, tmp_path):
    other = making_curves.write(tmp_path / "other.csv", rows(LATE, subset_id="other"))
    flags = ("--full", runs / "full", "--subset", runs / "small", other)
    _, report = run(tmp_path, *flags)
    ids = [one["subset_id"] for one in report["subsets"]]
    assert ids == [SUBSET_ID, "other"]


def test_the_same_inputs_give_the_same_bytes(runs, tmp_path):
    flags = ("--full", runs / "full", "--subset", runs / "small", "--seed", 3)
    output, _ = run(tmp_path, *flags)
    first = {path: path.read_bytes() for path in output.rglob("*.*")}
    run(tmp_path, *flags)
    assert first == {path: path.read_bytes() for path in output.rglob("*.*")}
    assert not any(str(tmp_path).encode() in data for data in first.values())
    drawn = {path.name for path in first if path.parent == output / "figures"}
    names = ("accuracies", "convergence", "curves", "images_seen", "ranks")
    stems = {f"{name}_subset" for name in names} | {"curves_full", "ranks_full"}
    assert drawn == {f"{stem}{end}" for stem in stems for end in (".svg", ".pdf")}


def test_predictions_and_groups_are_scored(predictions, tmp_path, capsys):
    paths = sorted(predictions.glob("*.npz"))
    pairs = tmp_path / "pairs/groups.csv"
    some = tmp_path / "some/groups.csv"
    for path, last in ((pairs, 1000), (some, 100)):
        path.parent.mkdir()
        lines = [f"{index},{index // 2}" for index in range(last)]
        path.write_text("\n".join(["class_index,group", *lines]))
    _, report = run(tmp_path, "--predictions", *paths, "--groups", pairs, some)
    names = [(one["name"], one["answers"]) for one in report["groupings"]]
    assert sorted(names) == [
        ("pairs", "all classes"),
        ("some", "all classes"),
        ("some", "own classes"),
    ]
    first = report["groupings"][names.index(("pairs", "all classes"))]
    # the wrong answer is the other class of the pair: all are right
    assert [m["accuracy"] for m in first["models"]] == [1, 1, 1]
    assert first["ranks"]["tau"] is None
    assert "Recommendation: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sidecar", "key"),
    [("groups.json", "quality"), ("recipe.json", "grouping_quality")],
)
def test_groups_made_from_a_ranked_model_are_warned_of(
    predictions, tmp_path, capsys, sidecar, key
):
    folder = tmp_path / "tens"
    folder.mkdir()
    rows = [f"{c.wnid},{c.class_index // 10}" for c in classes.load_classes()]
    (folder / "groups.csv").write_text("\n".join(["wnid,group", *rows]) + "\n")
    files = [f"--predictions={path}" for path in sorted(predictions.glob("*.npz"))]
    flags = (*files, "--groups", folder / "groups.csv")
    for models, is_warned in ((["poor", "other"], True), (["other"], False)):
        content = json.dumps({key: {"confusion_models": models}})
        (folder / sidecar).write_text(content)
        output, report = run(tmp_path, *flags)
        assert (
            any("the confusion of poor" in w for w in report["warnings"]) == is_warned
        )
        err = capsys.readouterr().err
        shown = "warning: tens: the groups are made from the confusion of poor, ranked"
        assert (shown in err) == is_warned
        page = (output / "report.html").read_text()
        assert ("tens: the groups are made from the confusion of poor" in page) == (
            is_warned
        )
    (folder / sidecar).write_text('{"quality": []}')
    assert run(tmp_path, *flags)[1]["warnings"] == []


def test_models_whose_classes_have_another_order_are_warned_of(
    predictions, tmp_path, capsys
):
    """Rankings of wrong predictions agree as well as those of right ones."""
    for path in predictions.glob("*.npz"):
        with np.load(path) as file:
            np.savez(tmp_path / path.name, top5=999 - file["top5"])
    files = [f"--predictions={path}" for path in sorted(tmp_path.glob("*.npz"))]
    rows = [f"{c.wnid},{c.class_index // 10}" for c in classes.load_classes()]
    (tmp_path / "g.csv").write_text("\n".join(["wnid,group", *rows]) + "\n")
    _, report = run(tmp_path, *files, "--groups", tmp_path / "g.csv")
    assert len(report["warnings"]) == 3
    err = capsys.readouterr().err
    for model in ("fair", "good", "poor"):
        assert f"warning: {model} is no better than chance: its likeliest" in err


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_foreign_reports_are_not_replaced(tmp_path, capsys, name):
    (tmp_path / "table.csv").write_text("model,a,b\nx,1,2\ny,2,3\nz,4,1\n")
    flags = ["--accuracies", tmp_path / "table.csv", "--columns", "a,b"]
    flags += ["--key_columns", "model", "--output", tmp_path]
    (tmp_path / name).write_text("[1]")
    expected = f"--output {tmp_path}: contains {name} not written by this job"
    assert expected in fails(capsys, *flags)
    assert (tmp_path / name).read_text() == "[1]"
    (tmp_path / name).unlink()
    for _ in range(2):
        evaluate.main([*map(str, flags)])


def test_accuracy_tables_are_compared(tmp_path):
    for name, scores in (("one", (1, 2, 3)), ("two", (1, 3, 2))):
        lines = [f"{model},{score}" for model, score in zip("abc", scores, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["model,top1", *lines]))
    both = (tmp_path / "one.csv", tmp_path / "two.csv")
    _, report = run(tmp_path, "--accuracies", *both, "--key_columns", "model")
    assert report["ranks"]["tau"] == pytest.approx(1 / 3, abs=1e-6)
    assert report["tables"] == ["one", "two"]
    _, report = run(tmp_path, "--accuracies", both[0], "--columns", "top1,top1")
    assert report["ranks"]["tau"] == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--full: is required, with --subset; or --predictions with"),
        (["--full", "x"], "--subset: is required with --full"),
        (["--subset", "x"], "--full: is required with --subset"),
        (["--predictions", "x"], "--groups: is required with --predictions"),
        (["--groups", "x"], "--predictions: is required with --groups"),
        (
            ["--full", "x", "--subset", "y", "--accuracies", "z"],
            "only one kind of input at a time",
        ),
        (["--accuracies", "x", "y", "z"], "3 files are given; give two, or one"),
        (["--accuracies", "x", "--columns", "a,b,c"], "a,b,c: give one or two"),
        (
            ["--accuracies", "x", "--key_columns", "a,a"],
            "a: is given twice; give it once",
        ),
        (
            ["--full", "x", "--subset", "y", "--columns", "a"],
            "applies only with --accuracies",
        ),
        (["stray", "--accuracies", "x"], "stray: belongs to no flag"),
        (["--acuracies", "x"], "did you mean --accuracies?"),
    ],
)
def test_incompatible_flags_are_rejected(tmp_path, capsys, flags, words):
    assert words in fails(capsys, *flags, f"--output={tmp_path / 'report'}")
    assert not (tmp_path / "report").exists()


def test_all_problems_of_curves_are_reported_without_a_traceback(tmp_path, capsys):
    mixed = rows(CURVES) + rows({"g": [0.1, 0.2, 0.3]})
    one = making_curves.write(tmp_path / "full.csv", mixed)
    percent = {"a": [50.0, 76.0]}
    two = making_curves.write(tmp_path / "small.csv", rows(percent, subset_id="x"))
    err = fails(capsys, "--full", one, "--subset", two, "--output", tmp_path / "report")
    assert f"error: --full set {'f' * 64}: its runs differ in epochs" in err
    assert f"error: --subset {two}: line 2" in err
    assert "divide percentages by 100" in err
    assert "Traceback" not in err


def test_the_output_may_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    flags = ("--accuracies", "x", "--output", tmp_path / "file/report")
    assert "is a file, or inside one; name a folder" in fails(capsys, *flags)


def test_groups_that_cannot_be_read_are_named(predictions, tmp_path, capsys):
    path = tmp_path / "groups.csv"
    path.write_text("class_index,group\n0,a\nnobody,b\n")
    paths = sorted(predictions.glob("*.npz"))
    flags = ("--predictions", *paths, "--groups", path, "--output", tmp_path / "report")
    assert f"{path}:3" in fails(capsys, *flags)


def test_tables_are_named_by_their_files_or_folders():
    assert name_tables(["x/wordnet.csv", "y/groups.csv"]) == ["wordnet", "y"]
    assert name_tables(["small/1.0.0/__meta__/groups.csv"]) == ["small/1.0.0"]
    alike = ["x/n10/groups.csv", "y/n10/groups.csv", "z/a.csv", "z/a.tsv"]
    assert name_tables(alike[:2]) == alike[:2]
    assert name_tables(alike[2:]) == ["z/a.csv", "z/a.tsv"]
    with pytest.raises(UsageError, match="is given twice"):
        name_tables(["x/groups.csv", "x/groups.csv"])


def test_help_imports_no_scipy():
    code = "import sys, pipelines.evaluate; print('scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.real
def test_trained_models_rank_by_curated_categories(real_data, tmp_path):
    table = tmp_path / "curated.csv"
    with (real_data / "labels/curated_categories_synset.csv").open() as file:
        lines = [f"{r['synset']},{r['categories']}" for r in csv.DictReader(file)]
    table.write_text("\n".join(["wnid,group", *lines]))
    paths = sorted((real_data / "predictions").glob("*.npz"))
    _, report = run(tmp_path, "--predictions", *paths, "--groups", table)
    (grouping,) = report["groupings"]
    right = {m["model"]: m["num_right"] for m in grouping["models"]}
    assert (right["vgg16"], right["alexnet"]) == (42_322, 36_726)
    assert grouping["shape"]["num_groups"] == 67


def test_logs_of_other_trainers_are_evaluated(tmp_path, capsys):
    for which, accuracies in (("full", LATE), ("n200", CURVES)):
        logs = {
            f"{name}/summary.csv": making_logs.timm([100 * a for a in accuracies[name]])
            for name in NAMES
        }
        making_logs.write(tmp_path / which, logs)
    inputs = ("--full", tmp_path / "full", "--subset", tmp_path / "n200")
    sizes = ("--train_images", "1000,100", "--validation_images", 2000)
    _, report = run(tmp_path, *inputs, *sizes)
    (subset,) = report["subsets"]
    assert (report["full"]["dataset"], subset["dataset"]) == ("full", "n200")
    assert [m["model"] for m in subset["models"]] == list(NAMES)
    assert [m["accuracy"] for m in subset["models"]] == [c[1] for c in CURVES.values()]
    assert (subset["train_images"], subset["validation_images"]) == (100, 2000)
    assert "are in percent, and divided by 100 (up to " in capsys.readouterr().err


def test_problems_of_logs_are_reported_together(tmp_path, capsys):
    full = making_logs.write(
        tmp_path / "full", {"a/summary.csv": "epoch,eval_top1\n0,x"}
    )
    small = making_logs.write(tmp_path / "small", {"a/metrics.csv": "epoch,step,f1\n"})
    output = ("--output", tmp_path / "report")
    err = fails(capsys, "--full", full, "--subset", small, *output)
    assert f"--full {full}/a/summary.csv: line 2: eval_top1 'x' is not a number" in err
    assert f"--subset {small}/a/metrics.csv: has no column of validation acc" in err
    flags = ("--epoch_column=e", "--model_names=a", "--train_images=0")
    err = fails(capsys, "--full", full, "--subset", small, *flags, *output)
    assert "--accuracy_column: is required with --epoch_column" in err
    assert "--model_names a: is not FOLDER=NAME" in err
    assert "--train_images 0" in err
    err = fails(capsys, "--accuracies", full, "--train_images=1", *output)
    assert "--train_images: applies only with --full and --subset" in err
