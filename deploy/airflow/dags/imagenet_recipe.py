"""Derive the flags of every job from a run's recipe, and check the recipe.

This module does not import Airflow; the tasks of `imagenet_tasks.py` call it.
"""

import enum
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import imagenet_commands
from imagenet_commands import FOLDS, Places, Step

Flags = dict[str, Any]
Recipe = Mapping[str, Any]
Settings = Mapping[str, Any]  # the content of a Variable

LEAST_RANKED = 3  # models; evaluate requires this number
_SETTINGS = ("python", "output")  # of each Variable
_SETTINGS_ON_DATAFLOW = (*_SETTINGS, "template", "image", "project", "region")
_INPUTS = (
    *("input", "dataset", "model", "predictions", "groups", "images"),
    *("confusion", "confusion_heldout", "difficulty"),
)
_COPIED = (
    *("grouping", "sampling", "image_size", "resize_mode", "formats", "seed"),
    *("min_validation_images", "max_failure_fraction", "name", "dataset_version"),
)
# The groupings that take --num_groups, and the flag of the file that a grouping or a
# sampler requires. A test compares both with the program.
TAKES_NUM_GROUPS = {
    "confusion",
    "curated",
    "random_classes",
    "random_groups",
    "wordnet",
}
TABLES = {
    "confusion": "confusion",
    "difficulty": "difficulty",
    "list": "images",
    "manual": "groups",
}


class Store(enum.Enum):
    """Where the runs of a DAG write; the DAG and its Variable have the same name."""

    LOCAL = ("imagenet_subset", "")
    AMAZON = ("imagenet_subset_in_s3", "s3://")
    GOOGLE = ("imagenet_subset_on_dataflow", "gs://")

    def __init__(self, dag_id: str, scheme: str) -> None:
        self.dag_id = dag_id
        self.scheme = scheme


def find_root(output: str, run_id: str) -> str:
    """Return the folder of a run, which is the same for every retry."""
    return f"{output.rstrip('/')}/{make_slug(run_id)}"


def make_slug(run_id: str) -> str:
    """Make a run id safe for paths and job names; a hash distinguishes similar ids."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", run_id.lower()).strip("-")
    return f"{slug[:32]}-{digest}"


def find_places(recipe: Recipe, root: str) -> Places:
    """Return the paths of all files and folders that a run writes."""
    return Places(root, datasets=root, version=recipe["dataset_version"])


def find_dataset(recipe: Recipe, root: str) -> str:
    """Return the folder of the dataset."""
    return find_places(recipe, root).dataset(recipe["name"])


def find_output(job: str, flags: Flags) -> str | None:
    """Return the file or folder that a job writes, None for verify."""
    output = flags.get("output")
    return find_dataset(flags, output) if output and job == "build" else output


def list_inputs(flags: Flags) -> list[str]:
    """Return the paths of all files and folders that a job reads."""
    values = [flags[name] for name in _INPUTS if name in flags]
    return [p for v in values for p in (v if isinstance(v, list) else [v])]


def list_steps(recipe: Recipe, root: str) -> dict[str, Step]:
    """Return the steps that this recipe needs, by name.

    Predictions for the validation images evaluate the subset. Predictions for the two
    halves of the training images, each by the model trained on the other half, give
    the confusion of classes and the difficulty of images.
    """
    places = find_places(recipe, root)
    dataset = find_dataset(recipe, root)
    build = imagenet_commands.build(
        places, recipe["name"], _list_build_flags(recipe, places)
    )
    steps = [
        imagenet_commands.index(places, recipe["input"]),
        build._replace(name="build"),
        Step("verify", "verify", {"dataset": dataset}, dataset),
    ]
    if recipe["models"]:
        flags = {"input": places.index, "model": recipe["models"]}
        steps.append(imagenet_commands.predict(places, "validation", flags))
    splits: Sequence[str] = ("validation",) if recipe["models"] else ()
    if recipe["fold_models"]:
        splits = FOLDS
        steps += imagenet_commands.predict_halves(
            places, recipe["halves"], recipe["fold_models"]
        )
        steps.append(imagenet_commands.difficulty(places))
    if splits:
        steps.append(imagenet_commands.confusion(places, splits))
    if len(recipe["models"]) >= LEAST_RANKED and not is_circular(recipe):
        folder = f"{root}/evaluation"
        flags = {
            "predictions": [places.predictions("validation")],
            "groups": [f"{dataset}/__meta__/groups.csv"],
            "output": folder,
        }
        steps.append(Step("evaluate", "evaluate", flags, f"{folder}/report.json"))
    return {step.name: step for step in steps}


def _list_build_flags(recipe: Recipe, places: Places) -> Flags:
    flags = {name: recipe[name] for name in _COPIED}
    grouping, sampling = recipe["grouping"], recipe["sampling"]
    if sampling != "list" and grouping != "all_classes":
        flags["images_per_group"] = recipe["images_per_group"]
    if grouping in TAKES_NUM_GROUPS:
        flags["num_groups"] = recipe["num_groups"]
    computed = {"confusion": places.confusion, "difficulty": places.difficulty}
    files = {**recipe, **computed}
    for method in (grouping, sampling):
        if table := TABLES.get(method):
            flags[table] = files[table]
    if is_circular(recipe):
        flags["confusion"] = places.half_confusion("a")
        flags["confusion_heldout"] = places.half_confusion("b")
    return flags


def is_circular(recipe: Recipe) -> bool:
    """Return whether the groups come from the predictions that would evaluate them.

    If so, half of the validation images determines the groups, the build measures the
    groups on the other half, and models are not ranked.
    """
    return recipe["grouping"] == "confusion" and not recipe["fold_models"]


def find_problems(recipe: Recipe, settings: Settings, store: Store) -> Iterator[str]:
    """Yield a message for each missing value or invalid combination of values."""
    variable = f"Variable {store.dag_id}"
    for name in _SETTINGS_ON_DATAFLOW if store is Store.GOOGLE else _SETTINGS:
        if not settings.get(name):
            yield f"{variable}: has no {name}; see deploy/airflow/README.md"
    if not recipe["input"]:
        yield f"input: name raw ImageNet, here or in the {variable}"
    has_folds = recipe["halves"] is not None and len(recipe["fold_models"]) == 2
    if not has_folds and (recipe["halves"] is not None or recipe["fold_models"]):
        yield "halves: requires two fold_models, trained on fold_a and on fold_b"
    if recipe["sampling"] == "difficulty" and not has_folds:
        yield "sampling=difficulty: needs halves and fold_models"
    if recipe["grouping"] == "confusion" and not has_folds and not recipe["models"]:
        yield "grouping=confusion: needs halves and fold_models, or models"
    if (recipe["grouping"] == "manual") != (recipe["groups"] is not None):
        yield "groups: give the table of grouping=manual, and only with that grouping"
    if (recipe["sampling"] == "list") != (recipe["images"] is not None):
        yield "images: give the list of sampling=list, and only with that sampling"
    yield from _find_path_problems(recipe, settings.get("output") or "", store)


def _find_path_problems(recipe: Recipe, output: str, store: Store) -> Iterator[str]:
    variable = f"Variable {store.dag_id}"
    if store is Store.GOOGLE:
        for path in (*recipe["input"], recipe["groups"], recipe["images"], output):
            if path and not path.startswith(store.scheme):
                yield f"{path}: must be gs://, as workers of Dataflow reach no others"
    elif store is Store.LOCAL and "://" in output:
        yield f"{variable}: output {output} must be a folder of the worker"
    elif output and not output.startswith(store.scheme):
        yield f"{variable}: output {output} must be {store.scheme}BUCKET/..."


def to_text(value: str | float | Sequence[str]) -> str:
    """Return the value of a flag as text, as flex templates require."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
