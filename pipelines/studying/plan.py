"""Plan a study: estimate each recipe, the training time and the space on disk."""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import grouping_flags
from pipelines.building import feasibility
from pipelines.commands import FOLDS, Places, Step, Training
from pipelines.grouping_flags import GroupingFlags
from pipelines.step_runner import Runner, acquire_folder, read_seconds
from pipelines.studying import recipes, timing
from pipelines.studying.options import TABLES, StudyOptions
from pipelines.studying.recipes import COMPUTED_TABLES, FULL, Common, Listed, Recipe
from pipelines.studying.steps import Steps, list_index_step
from pipelines.studying.timing import ImagesSeen, StepTime
from transforms import grouping, sampling, storage
from transforms.grouping.table import GroupTable
from transforms.images.settings import ImageSettings
from transforms.index import table as index_table
from transforms.index.inventory import Inventory, read_inventory
from transforms.records import UsageError, describe_bytes
from transforms.training import architectures

_BYTES_PER_PROBABILITY = 2
_SMALL_MODEL_BYTES, _MODEL_BYTES = 5_000_000, 100_000_000  # approximate sizes


class RecipeEstimate(NamedTuple):
    """The estimated size of a recipe's subset, before it is built."""

    recipe: Recipe
    num_groups: int
    num_train: int
    num_images: int  # including validation; an upper bound
    problems: tuple[str, ...]  # why it cannot be built


class SkippedRecipe(NamedTuple):
    """A recipe that is left out, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a study, in order, and the estimates of its recipes."""

    options: StudyOptions
    places: Places
    inventory: Inventory
    steps: Steps
    note: str  # about the recipes
    estimates: Sequence[RecipeEstimate]  # recipes that can be built
    left_out: Sequence[SkippedRecipe]
    full: Training
    subset: Training

    @property
    def recipes(self) -> list[Recipe]:
        """The recipes that can be built, according to the estimates."""
        return [prospect.recipe for prospect in self.estimates]

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether recipes use the study's confusion matrix and its difficulty table.

        Both are False if the user gave these tables.
        """
        used = {path for recipe in self.recipes for path in recipe.files}
        return self.places.confusion in used, self.places.difficulty in used

    def list_shared_steps(self) -> list[Step]:
        """List the steps that run before those of the recipes."""
        steps = self.steps.list_full(self.full)
        confusion, difficulty = self.needs
        if confusion or difficulty:
            steps += self.steps.list_references(
                self.reference, self.full, confusion=confusion, difficulty=difficulty
            )
        return steps

    def training_of(self, recipe: Recipe) -> Training:
        """Return the training settings for a recipe's subset.

        Every draw has seeds of its own, so that the spread over draws contains that
        over seeds.
        """
        seeds = self.subset.seeds
        shift = recipe.draw * (max(seeds) - min(seeds) + 1)
        return self.subset._replace(
            seeds=tuple(seed + shift for seed in seeds),
            epochs=recipe.epochs or self.subset.epochs,
        )

    @property
    def reference(self) -> str:
        """The name of the model whose predictions yield confusion and difficulty."""
        return self.options.reference_model or self.full.models[0]

    def list_training_runs(self) -> list[ImagesSeen]:
        """List one training run for every set and seed."""
        num_train = self.inventory.total("train")
        sets = [(FULL, self.full, num_train)]
        if any(self.needs):
            reference = self.full._replace(
                models=(self.reference,), seeds=self.full.seeds[:1]
            )
            sets += [(fold, reference, num_train // 2) for fold in FOLDS]
        sets += [
            (p.recipe.name, self.training_of(p.recipe), p.num_train)
            for p in self.estimates
        ]
        return [
            ImagesSeen(
                folder=self.places.models(name),
                models=training.models,
                seed=seed,
                num_train=images,
                epochs=training.epochs,
                rates=self.options.learning_rate,
                curves=self.steps.curves_of(name, seed),
            )
            for name, training, images in sets
            for seed in training.seeds
        ]

    def list_recipe_steps(self, recipe: Recipe) -> list[Step]:
        """List the steps of a recipe: build, training with each seed, evaluation."""
        training = self.training_of(recipe)
        return [
            *self.steps.list_recipe(recipe, training),
            self.steps.list_evaluation(
                recipe, self.full, training, seed=self.options.seed
            ),
        ]

    def list_step_times(self, left_out: Collection[str] = ()) -> list[StepTime]:
        """List all steps, with the measured times of the finished ones.

        Args:
          left_out: names of recipes whose steps are omitted.
        """
        training_runs = iter(self.list_training_runs())  # in the order of the steps
        num_all = sum(self.inventory.num_images.values())
        listed = [("", num_all, self.list_shared_steps())]
        listed += [
            (e.recipe.name, e.num_images, self.list_recipe_steps(e.recipe))
            for e in self.estimates
        ]
        times = [
            (
                name,
                StepTime(
                    job=step.job,
                    num_images=num_images,
                    training=next(training_runs) if step.job == "train" else None,
                    seconds=read_seconds(self.places.root, step),
                ),
            )
            for name, num_images, steps in listed
            for step in steps
        ]
        return [step_time for name, step_time in times if name not in left_out]

    def describe(self) -> Iterator[str]:
        """Yield the lines that describe the plan and its cost."""
        yield f"{len(self.estimates)} recipes ({self.note})"
        for estimate in self.estimates:
            yield (
                f"  {estimate.recipe.name}: {estimate.num_groups} groups, "
                f"{estimate.num_train:,} training images"
            )
        if self.left_out:
            yield f"{len(self.left_out)} recipes left out"
            for left in self.left_out:
                yield f"  {left.name}: {left.reason}"
        training_runs = self.list_training_runs()
        full = [run for run in training_runs if run.folder == self.places.models(FULL)]
        images, on_full = (
            sum(x.num_images for x in xs) for xs in (training_runs, full)
        )
        seeds, others = len(self.subset.seeds), ""
        if len(self.full.seeds) != seeds:
            others = f" ({len(self.full.seeds)} on the full set)"
        yield (
            f"training: {len(self.full.models)} models with {seeds} seed"
            f"{'s' if seeds > 1 else ''}{others} see {images:,} images, {on_full:,} of "
            "them on the full set"
        )
        if shared := self.list_shared_seeds():
            yield (
                f"warning: seed {shared[0]} is that of the full set and of subsets, "
                "whose models agree too well, since they share initial weights and "
                "crops; give the full set others with --full_seeds"
            )
        needed, free = self.estimate_bytes(), storage.free_bytes(self.places.root)
        yield f"space: about {describe_bytes(needed)} more, {describe_bytes(free)} free"
        yield timing.describe_time(self.list_step_times())

    def list_shared_seeds(self) -> list[int]:
        """List the seeds that train both the full set and subsets."""
        used = {seed for r in self.recipes for seed in self.training_of(r).seeds}
        return sorted(used.intersection(self.full.seeds))

    def estimate_bytes(self) -> int:
        """Estimate the bytes that remain to be written."""
        total = sum(self.inventory.num_images.values())
        models = len(self.full.seeds) + len(self.subset.seeds) * len(self.estimates)
        sizes = [
            _SMALL_MODEL_BYTES if architectures.is_small(name) else _MODEL_BYTES
            for name in self.full.models
        ]
        has_references = any(self.needs)
        needed = estimate_bytes(
            [total] * (1 + has_references) + [p.num_images for p in self.estimates],
            self.inventory,
            ImageSettings(image_size=self.options.image_size),
            model_bytes=models * sum(sizes),
            has_references=has_references,
        )
        existing = (
            Path(self.places.root, f) for f in storage.list_files(self.places.root)
        )
        return max(needed - sum(f.stat().st_size for f in existing if f.is_file()), 0)

    def check_space(self) -> None:
        """Check that the output has enough free space.

        Raises:
          UsageError: too little space is free.
        """
        needed, free = self.estimate_bytes(), storage.free_bytes(self.places.root)
        if needed > free:
            raise UsageError(
                f"--output {self.options.output}: needs about {describe_bytes(needed)} "
                f"more, but only {describe_bytes(free)} are free; free some space, use "
                "another folder, or list fewer --recipes"
            )


def plan(options: StudyOptions, root: str, runner: Runner) -> Plan:
    """Index the input if necessary, and plan the study.

    Raises:
      UsageError: lists all problems of the recipes, or of the input.
    """
    places = Places(root)
    listed = _read_recipes(options, places)
    index = _find_index(options, places, runner)
    return _make_plan(options, places, index, listed)


def plan_dry(options: StudyOptions, root: str) -> Plan:
    """Plan the study without writing to its output."""
    places = Places(root)
    listed = _read_recipes(options, places)
    with tempfile.TemporaryDirectory() as scratch, acquire_folder(scratch) as lock:
        index = places.index
        if not Path(index).exists():
            index = _find_index(options, Places(scratch), Runner(scratch, lock))
        return _make_plan(options, places, index, listed)


def _find_index(options: StudyOptions, places: Places, runner: Runner) -> str:
    """Return the path of the input's index; run the index step if there is none.

    Raises:
      UsageError: the folder has another study, or the step rejected the input.
    """
    if given := index_table.only_index(options.input):
        return given
    step = list_index_step(
        places,
        options.input,
        validation_labels=options.validation_labels,
        class_list=options.class_list,
    )
    if runner.is_another(step):
        raise UsageError(
            f"--output {options.output}: contains a study of another --input; give "
            "another folder"
        )
    runner.run_required(step)
    return places.index


def _read_recipes(options: StudyOptions, places: Places) -> list[Listed] | None:
    """Read --recipes, if given, and check them before a long run."""
    if not options.recipes:
        return None
    return recipes.read_recipes(
        options.recipes, lambda listed: _make_recipes(listed, options, places)
    )


def _make_recipes(
    listed: Sequence[Listed],
    options: StudyOptions,
    places: Places,
) -> list[Recipe]:
    tables = _list_tables(options) | {
        table: getattr(options, table) or getattr(places, table)
        for table in recipes.COMPUTED_TABLES
    }
    common = Common(flags=_list_common_flags(options), tables=tables)
    source = f"--recipes {options.recipes}" if options.recipes else "default recipes"
    return recipes.make_recipes(listed, common, source=source)


def _list_tables(options: StudyOptions) -> dict[str, str]:
    """Return the paths of the tables that the user gave, by flag."""
    given = ((table, getattr(options, table)) for table in TABLES)
    return {table: path for table, path in given if path}


def _list_common_flags(options: StudyOptions) -> dict[str, str]:
    return {
        "image_size": str(options.image_size),
        "min_validation_images": "0",
        "seed": str(options.seed),
    }


def _make_plan(
    options: StudyOptions,
    places: Places,
    index: str,
    listed: Sequence[Listed] | None,
) -> Plan:
    inventory = read_inventory(index)
    note = "of the file"
    if listed is None:
        listed, note = _choose_recipes(options, inventory)
    estimates = [
        estimate_recipes(recipe, inventory)
        for recipe in _make_recipes(listed, options, places)
    ]
    buildable = [e for e in estimates if not e.problems]
    left_out = [
        SkippedRecipe(e.recipe.name, join_problems(e.problems))
        for e in estimates
        if e.problems
    ]
    if left_out and (options.recipes or not buildable):
        where = f"--recipes {options.recipes}" if options.recipes else "--input"
        lines = [f"{where}: {recipe.name}: {recipe.reason}" for recipe in left_out]
        raise UsageError("\n".join(lines))
    training = Training(
        models=options.models,
        seeds=options.full_seeds or options.seeds,
        epochs=options.epochs,
        words=options.train_words,
    )
    flags = _list_common_flags(options).items()
    study_plan = Plan(
        options=options,
        places=places,
        inventory=inventory,
        steps=Steps(
            places,
            index,
            inventory.fingerprint,
            [f"--{name}={value}" for name, value in flags],
        ),
        note=note,
        estimates=buildable,
        left_out=left_out,
        full=training,
        subset=training._replace(
            seeds=options.seeds, epochs=options.subset_epochs or options.epochs
        ),
    )
    if options.full_seeds and (shared := study_plan.list_shared_seeds()):
        raise UsageError(
            f"--full_seeds {shared[0]}: is a seed of subsets too; models with the same "
            "seed share initial weights and crops, so that they agree too well; give "
            f"--seeds={max(options.full_seeds) + 1} or others above"
        )
    return study_plan


def _choose_recipes(
    options: StudyOptions, inventory: Inventory
) -> tuple[list[Listed], str]:
    held = grouping_flags.list_classes(inventory)
    sizes, note = recipes.choose_sizes(len(held), inventory.total("train"))
    num_groups: dict[str, int | None] = {}
    tables = _list_tables(options)
    for method in grouping.METHODS:
        needed = grouping.list_tables(method)
        source = grouping.find_num_groups_source(method)
        is_fixed = source != "flag"
        available = {*tables, *(() if is_fixed else recipes.COMPUTED_TABLES)}
        if source == "method" or not available.issuperset(needed):
            continue
        num_groups[method] = None
        if is_fixed:
            given: dict[str, Any] = {table: tables[table] for table in needed}
            flags = GroupingFlags(grouping=method, **given)
            num_groups[method] = grouping_flags.group_classes(held, flags)[0].num_groups
    return list(recipes.list_recipes(sizes, num_groups)), note


def estimate_recipes(recipe: Recipe, inventory: Inventory) -> RecipeEstimate:
    """Estimate the size of a recipe's subset, and list what prevents its build."""
    options = dataclasses.replace(recipe.options, plan_only=True).expand_preset()
    held = grouping_flags.list_classes(inventory)
    computed = set(COMPUTED_TABLES).intersection(
        grouping.list_tables(options.grouping or "")
    )
    if not all(storage.exists(getattr(options, table) or "") for table in computed):
        return _estimate_without_groups(recipe, inventory)
    try:
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # the build job prints the notes
            table, _ = grouping_flags.group_classes(
                held, options, recipe.grouping_options
            )
    except UsageError as error:
        return RecipeEstimate(recipe, 0, 0, 0, tuple(str(error).splitlines()))
    return _measure(recipe, inventory, table)


def _measure(recipe: Recipe, inventory: Inventory, table: GroupTable) -> RecipeEstimate:
    options = dataclasses.replace(recipe.options, plan_only=True).expand_preset()
    available, _, problems = feasibility.check(
        options,
        inventory,
        table,
        scope=sampling.find_scope(recipe.sampling_options),
    )
    free = sum(map(available.num_free, available.num_train))
    wanted = options.images_per_group
    return RecipeEstimate(
        recipe,
        table.num_groups,
        free if wanted is None else wanted * table.num_groups,
        available.count_images(wanted),
        tuple(problems),
    )


def _estimate_without_groups(recipe: Recipe, inventory: Inventory) -> RecipeEstimate:
    """Bound the size of a recipe whose groups depend on models not yet trained."""
    num_groups = recipe.options.num_groups or recipe.options.expand_preset().num_groups
    images = recipe.options.expand_preset().images_per_group
    num_classes, most = len(inventory.wnids()), inventory.total("train")
    num_train = most if images is None else (num_groups or 0) * images
    problems = []
    if (num_groups or 0) > num_classes:
        problems.append(
            f"--num_groups {num_groups}: the input has {num_classes} classes; "
            "give fewer groups"
        )
    if num_train > most:
        problems.append(
            f"--images_per_group {images}: {num_groups} groups need {num_train} "
            f"training images, the input has {most}; reduce one of them"
        )
    num_images = num_train + inventory.total("validation")
    return RecipeEstimate(
        recipe, num_groups or 0, num_train, num_images, tuple(problems)
    )


def join_problems(problems: Sequence[str]) -> str:
    """Join one recipe's problems into a line, without their indented details."""
    return "; ".join(line.strip() for line in problems if not line.startswith(" "))


def estimate_bytes(
    num_images: Sequence[int],
    inventory: Inventory,
    images: ImageSettings,
    *,
    model_bytes: int,
    has_references: bool,
) -> int:
    """Estimate the bytes that the study writes.

    Args:
      num_images: number of images of each dataset.
      inventory: classes and image counts of the input.
      images: image settings of the datasets.
      model_bytes: size of all trained models in bytes.
      has_references: whether the probabilities of all training images are kept.
    """
    image_bytes = feasibility.estimate_bytes(
        sum(num_images), images, mean_source_bytes=inventory.mean_bytes, num_formats=1
    )
    scores = 0
    if has_references:
        num_classes = len(inventory.wnids())
        scores = inventory.total("train") * num_classes * _BYTES_PER_PROBABILITY
    return image_bytes + scores + model_bytes
