"""Recipes and an inventory → which can be built, and what all of it takes."""

import contextlib
import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines import classes, presets
from pipelines.building import feasibility
from pipelines.studying.recipes import Recipe
from transforms import storage
from transforms.images.settings import ImageSettings
from transforms.records import UsageError
from transforms.tables.groups import GroupTable
from transforms.tables.inventory import Inventory

_BYTES_A_PROBABILITY = 2


class Prospect(NamedTuple):
    """What a recipe will give, as far as it is known before it is built."""

    recipe: Recipe
    num_groups: int
    num_train: int
    num_images: int  # with validation, at most
    problems: tuple[str, ...]  # why it cannot be built


class LeftOut(NamedTuple):
    """A recipe that is not compared, and why."""

    name: str
    reason: str


def foresee(recipe: Recipe, inventory: Inventory) -> Prospect:
    """See what a recipe will give, and whether it can."""
    options = presets.expand(dataclasses.replace(recipe.options, plan_only=True))
    held = classes.list_classes(inventory)
    if options.grouping == "confusion" and not storage.exists(options.confusion or ""):
        return _foresee_unknown(recipe, inventory)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the build job tells its notes
            table, _ = classes.group_classes(held, options, recipe.grouping_options)
    except UsageError as error:
        return Prospect(recipe, 0, 0, 0, tuple(str(error).splitlines()))
    return _measure(recipe, inventory, table)


def _measure(recipe: Recipe, inventory: Inventory, table: GroupTable) -> Prospect:
    options = presets.expand(dataclasses.replace(recipe.options, plan_only=True))
    available, _, problems = feasibility.check(
        options,
        inventory,
        table,
        scope=getattr(recipe.sampling_options, "scope", "group"),
    )
    free = sum(map(available.num_free, available.num_train))
    wanted = options.images_per_group
    return Prospect(
        recipe,
        table.num_groups,
        free if wanted is None else wanted * table.num_groups,
        available.count_images(wanted),
        tuple(problems),
    )


def _foresee_unknown(recipe: Recipe, inventory: Inventory) -> Prospect:
    """Bound what a recipe gives whose groups are known only when models are trained."""
    num_groups = recipe.options.num_groups or presets.expand(recipe.options).num_groups
    images = presets.expand(recipe.options).images_per_group
    num_classes, most = len(inventory.wnids()), inventory.total("train")
    num_train = most if images is None else (num_groups or 0) * images
    problems = []
    if (num_groups or 0) > num_classes:
        problems.append(f"--num_groups {num_groups}: the input has {num_classes}")
    if num_train > most:
        problems.append(
            f"--images_per_group {images}: {num_groups} groups need {num_train} "
            f"training images, the input has {most}"
        )
    num_images = num_train + inventory.total("validation")
    return Prospect(recipe, num_groups or 0, num_train, num_images, tuple(problems))


def say_problems(problems: Sequence[str]) -> str:
    """Put one recipe's problems into a line, without their indented details."""
    return "; ".join(line.strip() for line in problems if not line.startswith(" "))


class Looped(NamedTuple):
    """Models that are trained on one set with one seed, and what they loop through."""

    folder: str
    models: tuple[str, ...]
    seed: int
    num_train: int
    epochs: int
    num_rates: int

    @property
    def num_images(self) -> int:
        """Images looped by all of its models."""
        return len(self.models) * self._images_a_model

    @property
    def _images_a_model(self) -> int:
        return self.num_train * self.epochs * self.num_rates

    def remaining(self) -> Iterator[tuple[str, int]]:
        """Yield each model and the images that it has yet to loop through."""
        for model in self.models:
            rows = _read_curves(Path(self.folder, model, f"seed{self.seed}"))
            done = sum(images for images, _ in rows)
            yield model, max(self._images_a_model - done, 0)


def _read_curves(folder: Path) -> list[tuple[int, float]]:
    """Read the (images, seconds) of each epoch that is done."""
    try:
        with (folder / "curves.csv").open() as file:
            return [
                (int(row["train_images"]), float(row["seconds"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError):
        return []  # whoever evaluates them says what is wrong


def estimate_seconds(trainings: Sequence[Looped]) -> float | None:
    """Tell how long the remaining training takes; None before any model is trained.

    A model that has not been trained yet is taken to be as fast as the others.
    """
    speeds: dict[str, float] = {}
    for model in {model for one in trainings for model in one.models}:
        rows = [
            row
            for one in trainings
            for row in _read_curves(Path(one.folder, model, f"seed{one.seed}"))
        ]
        seconds = sum(spent for _, spent in rows)
        if seconds > 0:
            speeds[model] = sum(images for images, _ in rows) / seconds
    if not speeds:
        return None
    usual = len(speeds) / sum(1 / speed for speed in speeds.values())
    return sum(
        images / speeds.get(model, usual)
        for one in trainings
        for model, images in one.remaining()
    )


def say_duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def estimate_bytes(
    num_images: Sequence[int],
    inventory: Inventory,
    images: ImageSettings,
    *,
    model_bytes: int,
    has_references: bool,
) -> int:
    """Estimate what the study writes.

    Args:
      num_images: of each dataset.
      inventory: of the input.
      images: settings of the pictures.
      model_bytes: of the trained models.
      has_references: whether every training image's probabilities are kept.
    """
    pictures = feasibility.estimate_bytes(
        sum(num_images), images, mean_source_bytes=inventory.mean_bytes, num_formats=1
    )
    scores = 0
    if has_references:
        num_classes = len(inventory.wnids())
        scores = inventory.total("train") * num_classes * _BYTES_A_PROBABILITY
    return pictures + scores + model_bytes
