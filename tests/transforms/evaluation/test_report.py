import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests import making_curves
from tests.making_curves import SUBSET_ID, rows
from transforms.evaluation.by_accuracies import evaluate_accuracies
from transforms.evaluation.by_curves import evaluate_curves
from transforms.evaluation.by_predictions import evaluate_predictions
from transforms.evaluation.report import VERSION, make_report, summarise
from transforms.predictions.reading import Predictions

CURVES = {"a": [0.1, 0.9], "b": [0.2, 0.8], "c": [0.3, 0.7], "d": [0.4, 0.6]}


@pytest.fixture
def by_curves(tmp_path):
    full = (
        rows(CURVES) + rows(CURVES, seed=1) + rows({"a": [0.1, 0.3]}, learning_rate=9)
    )
    small = rows(CURVES, subset_id=SUBSET_ID, train_images=10)
    return evaluate_curves(
        [making_curves.write(tmp_path / "full.csv", full)],
        [making_curves.write(tmp_path / "subset.csv", small)],
        seed=0,
    )


def test_curves_are_reported_with_all_runs(by_curves):
    report = json.loads(make_report(by_curves, seed=4))
    assert (report["version"], report["kind"], report["seed"]) == (VERSION, "curves", 4)
    full, (subset,) = report["full"], report["subsets"]
    assert (full["epochs"], full["train_images"], full["num_significant"]) == (
        2,
        1000,
        6,
    )
    assert full["convergence_epoch"] == subset["convergence_epoch"] == 2
    assert (full["images_until_convergence"], subset["images_until_convergence"]) == (
        2000,
        20,
    )
    assert subset["gain"] == 100
    assert subset["gain_interval"] == [50, 200]
    assert subset["full_convergence_epoch"] == 2
    assert subset["ceiling"]["least_kept"] == 1
    assert subset["verdict"]["value"] == "useful"
    assert subset["verdict"]["text"].startswith("useful: it keeps the order of 6 ")
    assert full["seed_standard_deviation"] == 0
    assert subset["seed_standard_deviation"] is None
    assert full["pairs_compared_by"] == "accuracies"
    best, *_ = full["models"]
    assert (best["model"], best["rank"], best["curve"]) == ("a", 1, [0.1, 0.9])
    used = [(r["seed"], r["learning_rate"], r["is_used"]) for r in best["runs"]]
    assert used == [(0, 0.1, True), (1, 0.1, True), (0, 9.0, False)]
    assert subset["pairs"]["contrary"] == []


def test_an_unknown_learning_rate_is_null(tmp_path):
    of_log = making_curves.write(tmp_path / "log.csv", rows(CURVES, learning_rate=0))
    report = json.loads(make_report(evaluate_curves([of_log], [], seed=0), seed=4))
    rates = {r["learning_rate"] for m in report["full"]["models"] for r in m["runs"]}
    assert rates == {None}


def list_keys(value):
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from list_keys(part)


@pytest.fixture
def by_predictions():
    truth = np.arange(1000) % 10
    models = []
    for name, every in (("a", 50), ("b", 7), ("c", 3)):
        first = truth.copy()
        first[::every] += 1
        top5 = np.stack([first, *(first + n for n in (2, 3, 4, 5))], axis=1)
        models.append(Predictions(name, top5, truth))
    some = np.where(np.arange(1000) < 8, np.arange(1000) // 2, -1)
    return evaluate_predictions(models, {"some": some}, seed=0)


@pytest.fixture
def by_accuracies(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("model,one,two\na,1,3\nb,2,2\nc,3,1\n")
    return evaluate_accuracies([str(path)], columns=["one", "two"])


def test_every_key_is_described(by_curves, by_predictions, by_accuracies):
    described = Path(__file__).parents[3].joinpath("docs/report_schema.md").read_text()
    for found in (by_curves, by_predictions, by_accuracies):
        report = json.loads(make_report(found, seed=0))
        missing = {k for k in list_keys(report) if f"{k}`" not in described}
        assert not missing


def test_predictions_are_reported_by_grouping(by_predictions):
    found = by_predictions
    report = json.loads(make_report(found, seed=0))
    assert report["kind"] == "predictions"
    assert report["full"]["num_images"] == 1000
    assert [g["answers"] for g in report["groupings"]] == ["all classes", "own classes"]
    one = report["groupings"][0]
    assert one["shape"]["num_groups"] == 4
    assert one["num_images"] == 800
    assert one["models"][0]["num_right"] <= 800
    assert [n["share_of_pairs"] for n in one["validation_images_needed"]] == [
        0.5, 0.8, 0.9, 0.95,
    ]  # fmt: skip
    lines = list(summarise(found))
    header, *_, advice, limit, few = lines
    assert header.split()[:3] == ["grouping", "groups", "classes"]
    assert {line.split("  ")[0] for line in lines[1:3]} == {"some", "some, own classes"}
    for column in ("grouping", "tau", "95 %", "ceiling", "undecided"):
        assert any(line.startswith(f"{column}: ") for line in lines)
    assert advice.startswith("Recommendation: use some")
    assert "trained on the single classes" in limit
    assert "3 models" in few


def test_accuracies_are_reported_with_their_columns(by_accuracies):
    report = json.loads(make_report(by_accuracies, seed=0))
    assert report["columns"] == ["one", "two"]
    assert report["ranks"]["tau"] == -1
    assert report["models"][0] == {
        "model": "a", "full": 1, "subset": 3, "full_rank": 3, "subset_rank": 1,
    }  # fmt: skip


def test_undefined_values_are_null_and_never_nan(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("model,one,two\na,1,3\nb,1,2\nc,1,1\n")
    found = evaluate_accuracies([str(path)], columns=["one", "two"])
    data = make_report(found, seed=0)
    assert json.loads(data)["ranks"]["tau"] is None
    assert b"NaN" not in data
    *_, line = summarise(found)
    assert line == "Recommendation: none, since all models tie in a column."


def test_numbers_have_six_digits(by_curves):
    text = make_report(by_curves, seed=0).decode()
    numbers = [word.strip(",") for word in text.split() if word[:2] == "0."]
    assert numbers
    assert max(len(number) for number in numbers) <= 8


def test_summary_contains_the_verdict(by_curves):
    first, blank, header, row, *rest = summarise(by_curves)
    assert first.startswith("small aaaaaaaa: useful; it keeps")
    assert not blank
    cells = dict(zip(re.split("  +", header), re.split("  +", row), strict=True))
    assert cells == {
        "subset": "small aaaaaaaa",
        "verdict": "useful",
        "tau": "1.000",
        "95 %": "0.081…1.000",
        "kept": "100.0 %",
        "ceiling": "100.0 %",
        "resolving": "100.0 %",
        "regret": "0.00 %",
        "gain": "100",
        "gain, 95 %": "50 to 200",
        "converges": "20",
        "seen": "20",
    }
    explained = [line.partition(": ")[0] for line in rest[1 : 1 + len(cells)]]
    assert explained == list(cells)
    assert rest[-2:] == [
        "Recommendation: use small aaaaaaaa: τ-b 1.000, which keeps the order of "
        "100.0% of the significant pairs, within noise (at least 100.0%).",
        "Verdict on small aaaaaaaa: useful.",
    ]


def _evaluate_subsets(folder, subsets, seeds=(0, 1)):
    """Evaluate subsets, by name, of 20 models with these accuracies."""
    full = [n / 40 for n in range(20)]

    def write(name, accuracies, **options):
        curves = {f"m{chr(97 + n) * 2}": [0.0, a] for n, a in enumerate(accuracies)}
        listed = [row for s in seeds for row in rows(curves, seed=s, **options)]
        listed = [row._replace(dataset=name) for row in listed]
        return making_curves.write(folder / f"{name}.csv", listed)

    paths = [
        write(name, [full[place] for place in order], subset_id=f"{n}" * 64)
        for n, (name, order) in enumerate(subsets.items())
    ]
    return evaluate_curves([write("full", full)], paths, seed=0)


def test_subsets_are_sorted_and_ties_and_worse_ones_are_named(tmp_path):
    same, mixed = list(range(20)), [n ^ 7 if n < 16 else n for n in range(20)]
    evaluation = _evaluate_subsets(
        tmp_path,
        {"mixed": mixed, "close": [1, 0, *same[2:]], "same": same},
        seeds=(0,),
    )
    names = [subset.curve_set.dataset for subset in evaluation.subsets]
    assert names == ["same", "close", "mixed"]
    advice = next(s for s in summarise(evaluation) if s.startswith("Recommendation"))
    assert advice.startswith("Recommendation: use same 22222222: τ-b 1.000")
    assert "undecided between it and close 11111111 (0.989)" in advice
    assert "significantly worse: mixed 00000000 (" in advice


def test_a_subset_that_is_not_useful_is_not_recommended(tmp_path):
    evaluation = _evaluate_subsets(tmp_path, {"bad": list(range(20))[::-1]})
    *_, advice = summarise(evaluation)
    assert advice == "Recommendation: keep the full set, since no subset is useful."


def test_a_ranking_that_may_agree_by_chance_is_not_recommended(tmp_path):
    full = rows({name: curve for name, curve in CURVES.items() if name != "d"})
    small = [row._replace(subset_id=SUBSET_ID, dataset="small") for row in full]
    evaluation = evaluate_curves(
        [making_curves.write(tmp_path / "full.csv", full)],
        [making_curves.write(tmp_path / "subset.csv", small)],
        seed=0,
    )
    *_, advice = summarise(evaluation)
    assert advice == (
        "Recommendation: undecided, since even small aaaaaaaa (τ-b 1.000, the highest) "
        "may rank the models like the full set by chance; train more models."
    )


def test_columns_are_recommended_only_if_they_rank_alike(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"m{chr(97 + n)},{n},{2 * n},{-n},{n * 7 % 10}" for n in range(10)]
    path.write_text("\n".join(["model,one,twice,minus,mixed", *lines]))
    for column, said in (
        ("twice", "twice can stand in for one, as far as τ-b 1.000"),
        ("minus", "do not use minus for one: it reverses the ranking, τ-b -1.000"),
        ("mixed", "undecided whether mixed can stand in for one: τ-b "),
    ):
        found = evaluate_accuracies([str(path)], columns=["one", column])
        *_, advice, _ = summarise(found)
        assert advice.startswith(f"Recommendation: {said}")


def test_equal_models_share_a_rank(tmp_path):
    lines = ["model,top1,mAP", "a,70,1", "b,80,2", "c,70,3", "d,60,4"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    found = evaluate_accuracies([str(tmp_path / "table.csv")], columns=["top1", "mAP"])
    models = json.loads(make_report(found, seed=0))["models"]
    assert [model["full_rank"] for model in models] == [2, 1, 2, 4]
