"""Test the steps and flags of recipes, and the recipes that are rejected."""

import re

import imagenet_recipe
import pytest
from imagenet_recipe import Store

PLACE = {"python": "/opt/subsets/bin/python", "output": "/data/runs"}
CLOUD = {
    **PLACE,
    "output": "gs://data/runs",
    "template": "gs://data/templates/subsets.json",
    "image": "region-docker.pkg.dev/p/r/subsets@sha256:" + "0" * 64,
    "project": "p",
    "region": "europe-west4",
}
FOLDS = {"halves": "/data/halves/1.0.0", "fold_models": ["a.keras", "b.keras"]}
MODELS = {"models": ["1.keras", "2.keras", "3.keras"]}


@pytest.fixture
def recipe(dags):
    return {**dags["imagenet_subset"].params, "input": ["/data/imagenet"]}


def _problems(recipe, place=PLACE, store=Store.LOCAL):
    return "\n".join(imagenet_recipe.find_problems(recipe, place, store))


def test_the_defaults_need_no_models(recipe):
    steps = imagenet_recipe.list_steps(recipe, "/r")
    assert steps.keys() == {"index", "build", "verify"}
    assert steps["build"].flags["input"] == "/r/index.parquet"
    assert steps["build"].flags["resume"] is True
    assert not _problems(recipe)


def test_each_half_is_scored_by_the_model_of_the_other(recipe):
    steps = imagenet_recipe.list_steps({**recipe, **FOLDS}, "/r")
    assert steps["predict_fold_a"].flags["model"] == "b.keras"
    assert steps["predict_fold_a"].flags["split"] == "fold_a"
    assert steps["predict_fold_b"].flags["model"] == "a.keras"
    both = [f"/r/predictions/fold_{x}.parquet" for x in "ab"]
    assert steps["confusion"].flags["predictions"] == both
    assert steps["difficulty"].flags["predictions"] == both


def test_models_do_not_evaluate_groups_from_their_own_confusion(recipe):
    confused = {**recipe, **MODELS, "grouping": "confusion"}
    steps = imagenet_recipe.list_steps(confused, "/r")
    assert "evaluate" not in steps
    assert steps["build"].flags["confusion"] == "/r/confusion/confusion_a.npz"
    assert steps["build"].flags["confusion_heldout"] == "/r/confusion/confusion_b.npz"
    steps = imagenet_recipe.list_steps({**confused, **FOLDS}, "/r")
    assert steps["build"].flags["confusion"] == "/r/confusion/confusion.npz"
    assert steps["evaluate"].flags["predictions"] == [
        "/r/predictions/validation.parquet"
    ]


def test_fewer_than_three_models_are_not_evaluated(recipe):
    steps = imagenet_recipe.list_steps({**recipe, "models": ["1", "2"]}, "/r")
    assert "predict_validation" in steps
    assert "evaluate" not in steps


def test_list_and_published_groups_fix_the_numbers(recipe):
    changes = {"sampling": "list", "images": "i.csv", "grouping": "breeds_living17"}
    flags = imagenet_recipe.list_steps({**recipe, **changes}, "/r")["build"].flags
    assert flags["images"] == "i.csv"
    assert not {"num_groups", "images_per_group"} & flags.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": []}, "input: name raw ImageNet"),
        ({"sampling": "difficulty"}, "needs halves and fold_models"),
        ({"grouping": "confusion"}, "needs halves and fold_models, or models"),
        ({"halves": "/h"}, "requires two fold_models"),
        ({"fold_models": ["a", "b"]}, "requires two fold_models"),
        ({**FOLDS, "fold_models": ["a"]}, "requires two fold_models"),
        ({"grouping": "manual"}, "table of grouping=manual"),
        ({"groups": "g.csv"}, "table of grouping=manual"),
        ({"sampling": "list"}, "the list of sampling=list"),
        ({"images": "i.csv"}, "the list of sampling=list"),
    ],
)
def test_inconsistent_recipe_is_rejected(recipe, changes, message):
    assert message in _problems({**recipe, **changes})


def test_all_problems_are_reported_at_once(recipe):
    found = _problems({**recipe, "input": [], "sampling": "difficulty"}, {})
    assert len(found.splitlines()) == 4  # python, output, input, difficulty


def test_dataflow_needs_its_own_settings_and_buckets(recipe):
    assert not _problems({**recipe, "input": ["gs://i"]}, CLOUD, Store.GOOGLE)
    found = _problems(recipe, PLACE, Store.GOOGLE)
    for name in ("template", "image", "project", "region"):
        assert f"has no {name}" in found
    assert "/data/imagenet: must be gs://" in found
    assert "must be a folder of the worker" in _problems(recipe, CLOUD)


def test_outputs_in_s3_are_urls(recipe):
    assert not _problems(recipe, {**PLACE, "output": "s3://b/runs"}, Store.AMAZON)
    for place in (PLACE, CLOUD):
        assert "must be s3://BUCKET" in _problems(recipe, place, Store.AMAZON)


def test_lineage_is_every_path_that_a_job_reads_or_writes(recipe):
    changes = {**FOLDS, **MODELS, "sampling": "difficulty", "groups": "g.csv"}
    steps = imagenet_recipe.list_steps(
        {**recipe, **changes, "grouping": "confusion"}, "/r"
    )
    dataset = "/r/imagenet_subset/1.0.0"
    inputs = {
        name: imagenet_recipe.list_inputs(step.flags) for name, step in steps.items()
    }
    assert inputs["index"] == ["/data/imagenet"]
    assert inputs["predict_fold_a"] == ["/data/halves/1.0.0", "b.keras"]
    assert set(inputs["build"]) == {
        "/r/index.parquet",
        "/r/confusion/confusion.npz",
        "/r/difficulty/difficulty.parquet",
    }
    assert inputs["verify"] == [dataset]
    assert imagenet_recipe.find_output("build", steps["build"].flags) == dataset
    assert imagenet_recipe.find_output("verify", steps["verify"].flags) is None


def test_run_ids_become_distinct_slugs():
    ids = [
        "scheduled__2026-03-01T00:00:00+00:00",
        "scheduled__2026-03-01T00:00:00-00:00",
    ]
    slugs = [imagenet_recipe.make_slug(run_id) for run_id in (*ids, "../x", "a" * 400)]
    assert len(set(slugs)) == 4
    assert all(re.fullmatch("[a-z0-9-]{1,41}", slug) for slug in slugs)
    assert slugs[0] == imagenet_recipe.make_slug(ids[0])
