"""Derive the flags of every job from a run's recipe, and check the recipe.

Plain Python without Airflow; the tasks of `imagenet_subset.py` use it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Flags = dict[str, Any]
Recipe = Mapping[str, Any]

VARIABLE = "imagenet_subset"
_MIN_RANKED = 3  # models that evaluate needs
_PLACE = ("python", "output")
_PLACE_ON_DATAFLOW = (*_PLACE, "template", "image", "project", "region")
_COPIED = (
    *("grouping", "sampling", "image_size", "resize_mode", "formats", "seed"),
    *("min_validation_images", "max_failure_fraction", "name", "dataset_version"),
)


def find_root(output: str, run_id: str) -> str:
    """Return the folder of a run; the same for every retry."""
    return f"{output.rstrip('/')}/{make_slug(run_id)}"


def make_slug(run_id: str) -> str:
    """Make a run id safe for paths and job names; a hash keeps similar ids apart."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", run_id.lower()).strip("-")
    return f"{slug[:32]}-{digest}"


def find_dataset(recipe: Recipe, root: str) -> str:
    """Return the directory of the dataset."""
    return f"{root}/{recipe['name']}/{recipe['dataset_version']}"


def list_steps(recipe: Recipe, root: str) -> dict[str, Flags]:
    """Return the flags of every step that this recipe needs.

    Predictions for validation images evaluate the subset. Predictions for the two
    halves of the training images, each by the model that was trained on the other
    half, give confusion and difficulty.
    """
    index, dataset = f"{root}/index.parquet", find_dataset(recipe, root)
    validation = f"{root}/predictions/validation.parquet"
    folds = [f"{root}/predictions/{fold}.parquet" for fold in ("fold_a", "fold_b")]
    steps: dict[str, Flags] = {
        "index": {"input": recipe["input"], "output": index},
        "build": {"input": [index], **_list_build_flags(recipe, root)},
        "verify": {"dataset": dataset},
    }
    if recipe["models"]:
        steps["predict_validation"] = {
            "input": [index],
            "split": "validation",
            "model": recipe["models"],
            "output": validation,
        }
    if recipe["fold_models"]:
        of_a, of_b = recipe["fold_models"]
        for split, model, output in zip(
            ("fold_a", "fold_b"), (of_b, of_a), folds, strict=True
        ):
            steps[f"predict_{split}"] = {
                "input": [recipe["halves"]],
                "split": split,
                "model": [model],
                "output": output,
            }
        steps["difficulty"] = {"predictions": folds, "output": f"{root}/difficulty"}
    if recipe["models"] or recipe["fold_models"]:
        predictions = folds if recipe["fold_models"] else [validation]
        output = f"{root}/confusion"
        steps["confusion"] = {"predictions": predictions, "output": output}
    if len(recipe["models"]) >= _MIN_RANKED and not is_circular(recipe):
        steps["evaluate"] = {
            "predictions": [validation],
            "groups": [f"{dataset}/__meta__/groups.csv"],
            "output": f"{root}/evaluation",
        }
    return steps


def _list_build_flags(recipe: Recipe, root: str) -> Flags:
    flags = {name: recipe[name] for name in _COPIED} | {"output": root, "resume": True}
    grouping = recipe["grouping"]
    if grouping != "all_classes":
        flags["images_per_group"] = recipe["images_per_group"]
    if grouping == "manual":
        flags["groups"] = recipe["groups"]
    elif grouping != "all_classes":
        flags["num_groups"] = recipe["num_groups"]
    if is_circular(recipe):
        flags["confusion"] = f"{root}/confusion/confusion_a.npz"
        flags["confusion_heldout"] = f"{root}/confusion/confusion_b.npz"
    elif grouping == "confusion":
        flags["confusion"] = f"{root}/confusion/confusion.npz"
    if recipe["sampling"] == "difficulty":
        flags["difficulty"] = f"{root}/difficulty/difficulty.parquet"
    return flags


def is_circular(recipe: Recipe) -> bool:
    """Tell whether the groups are computed from the predictions that evaluate them.

    Then half of the validation images defines the groups, the build reports how well
    they hold on the other half, and models are not ranked.
    """
    return recipe["grouping"] == "confusion" and not recipe["fold_models"]


def find_problems(recipe: Recipe, place: Recipe, *, on_dataflow: bool) -> Iterator[str]:
    """Yield errors of values that are valid alone but not together."""
    for name in _PLACE_ON_DATAFLOW if on_dataflow else _PLACE:
        if not place.get(name):
            yield f"Variable {VARIABLE}: has no {name}; see deploy/airflow/README.md"
    if not recipe["input"]:
        yield f"input: name raw ImageNet, here or in the Variable {VARIABLE}"
    has_folds = recipe["halves"] is not None and len(recipe["fold_models"]) == 2
    if not has_folds and (recipe["halves"] is not None or recipe["fold_models"]):
        yield "halves: goes with two fold_models, trained on fold_a and on fold_b"
    if recipe["sampling"] == "difficulty" and not has_folds:
        yield "sampling=difficulty: needs halves and fold_models"
    if recipe["grouping"] == "confusion" and not has_folds and not recipe["models"]:
        yield "grouping=confusion: needs halves and fold_models, or models"
    if (recipe["grouping"] == "manual") != (recipe["groups"] is not None):
        yield "groups: the table of grouping=manual; give both or neither"
    yield from _find_path_problems(recipe, place, on_dataflow=on_dataflow)


def _find_path_problems(
    recipe: Recipe, place: Recipe, *, on_dataflow: bool
) -> Iterator[str]:
    output = place.get("output") or ""
    if not on_dataflow:
        if "://" in output:
            yield f"Variable {VARIABLE}: output {output} must be a folder of the worker"
        return
    for path in (*recipe["input"], recipe["groups"], output):
        if path and not path.startswith("gs://"):
            yield f"{path}: must be gs://; Dataflow workers can only access buckets"


def to_words(flags: Flags) -> list[str]:
    """Return flags as words of a command line."""
    words: list[str] = []
    for name, value in flags.items():
        is_list = isinstance(value, list)
        words += [f"--{name}", *value] if is_list else [f"--{name}={to_text(value)}"]
    return words


def to_text(value: str | float | Sequence[str]) -> str:
    """Return the value of a flag as text, as flex templates require."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
