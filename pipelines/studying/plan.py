"""A study's plan: recipes, steps, and what all of it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.studying import prospects
from pipelines.studying.options import StudyOptions, split
from pipelines.studying.prospects import LeftOut, Looped, Prospect
from pipelines.studying.recipes import FULL, Recipe
from pipelines.studying.running import Step
from pipelines.studying.steps import FOLDS, Places, Steps, Training
from transforms import storage
from transforms.images.settings import ImageSettings
from transforms.records import UsageError
from transforms.tables.inventory import Inventory
from transforms.training import architectures

_SMALL_MODEL_BYTES, _MODEL_BYTES = 5_000_000, 100_000_000  # about


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study does, in order."""

    options: StudyOptions
    places: Places
    inventory: Inventory
    steps: Steps
    note: str  # of the recipes
    prospects: Sequence[Prospect]  # of those that can be built
    left_out: Sequence[LeftOut]
    full: Training
    subset: Training

    @property
    def recipes(self) -> list[Recipe]:
        """The recipes that can be built, as far as it is known."""
        return [prospect.recipe for prospect in self.prospects]

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether some recipe needs confusion, and difficulty, of the study's own."""
        used = {path for recipe in self.recipes for path in recipe.files}
        return self.places.confusion in used, self.places.difficulty in used

    def list_shared_steps(self) -> list[Step]:
        """List what comes before the recipes."""
        steps = self.steps.list_full(self.full)
        confusion, difficulty = self.needs
        if confusion or difficulty:
            steps += self.steps.list_references(
                self.reference, self.full, confusion=confusion, difficulty=difficulty
            )
        return steps

    @property
    def reference(self) -> str:
        """The model that confusion and difficulty are found with."""
        return self.options.reference_model or self.full.models[0]

    def list_looped(self) -> list[Looped]:
        """List all training."""
        num_train = self.inventory.total("train")
        sets = [(FULL, self.full, num_train)]
        if any(self.needs):
            one = self.full._replace(
                models=(self.reference,), seeds=self.full.seeds[:1]
            )
            sets += [(fold, one, num_train // 2) for fold in FOLDS]
        sets += [(p.recipe.name, self.subset, p.num_train) for p in self.prospects]
        return [
            Looped(
                folder=self.places.models(name),
                models=training.models,
                seed=seed,
                num_train=images,
                epochs=training.epochs,
                num_rates=len(split(self.options.learning_rate)),
            )
            for name, training, images in sets
            for seed in training.seeds
        ]

    def describe(self) -> Iterator[str]:
        """Say what is done, and what it takes."""
        yield f"{len(self.prospects)} recipes ({self.note})"
        for one in self.prospects:
            yield (
                f"  {one.recipe.name}: {one.num_groups} groups, {one.num_train:,} "
                "training images"
            )
        if self.left_out:
            yield f"{len(self.left_out)} recipes left out"
            for left in self.left_out:
                yield f"  {left.name}: {left.reason}"
        looped = self.list_looped()
        own = [one for one in looped if one.folder == self.places.models(FULL)]
        images, on_full = (sum(x.num_images for x in xs) for xs in (looped, own))
        seeds = len(self.full.seeds)
        yield (
            f"training: {len(self.full.models)} models with {seeds} seed"
            f"{'s' if seeds > 1 else ''} loop through {images:,} images, {on_full:,} "
            "of them on the full set"
        )
        needed, free = self.estimate_bytes(), storage.free_bytes(self.places.root)
        yield f"space: about {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free"
        yield say_time(looped)

    def estimate_bytes(self) -> int:
        """Estimate what is still to be written."""
        total = sum(self.inventory.num_images.values())
        models = len(self.full.seeds) * (1 + len(self.prospects))
        sizes = [
            _SMALL_MODEL_BYTES if name in architectures.SMALL else _MODEL_BYTES
            for name in self.full.models
        ]
        has_references = any(self.needs)
        needed = prospects.estimate_bytes(
            [total] * (1 + has_references) + [p.num_images for p in self.prospects],
            self.inventory,
            ImageSettings(image_size=self.options.image_size),
            model_bytes=models * sum(sizes),
            has_references=has_references,
        )
        there = (
            Path(self.places.root, f) for f in storage.list_files(self.places.root)
        )
        return max(needed - sum(f.stat().st_size for f in there if f.is_file()), 0)

    def check_space(self) -> None:
        """Refuse a study that has no room.

        Raises: UsageError: too little is free.
        """
        needed, free = self.estimate_bytes(), storage.free_bytes(self.places.root)
        if needed > free:
            raise UsageError(
                f"--output {self.options.output}: needs about {needed / 1e9:.1f} GB "
                f"more, {free / 1e9:.1f} GB are free; free some, name another place, "
                "or give fewer --recipes"
            )


def say_time(looped: Sequence[Looped]) -> str:
    """Say how long the training still takes."""
    seconds = prospects.estimate_seconds(looped)
    if seconds is None:
        return (
            "time: not known before a model has been trained; it is told after every "
            "step, and by --dry_run"
        )
    if not seconds:
        return "time: nothing is left to train"
    return (
        f"time: about {prospects.say_duration(seconds)} of training are left, as fast "
        "as it has been here"
    )
