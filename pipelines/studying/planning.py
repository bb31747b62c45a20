"""A study's flags → its plan: finds the images, and sees which recipes can be built."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines import classes
from pipelines.classes import GroupingFlags
from pipelines.studying import defaults, prospects, recipes
from pipelines.studying.options import StudyOptions, split
from pipelines.studying.plan import Plan
from pipelines.studying.prospects import LeftOut
from pipelines.studying.recipes import Common, Listed, Recipe
from pipelines.studying.running import RefusedError, Runner, hold
from pipelines.studying.steps import Places, Steps, Training, list_index_step
from transforms.records import UsageError
from transforms.tables import index_table
from transforms.tables.inventory import Inventory, read_inventory


def plan(options: StudyOptions, root: str, runner: Runner) -> Plan:
    """Find the images, and plan the study.

    Raises: UsageError: all that is wrong with the recipes, or with the input.
    """
    places = Places(root)
    listed = recipes.read_recipes(options.recipes) if options.recipes else None
    if listed:
        _make_recipes(
            listed, options, places
        )  # what is wrong is said before a long run
    index = _find_index(options, places, runner)
    return _make_plan(options, places, index, listed)


def plan_dry(options: StudyOptions, root: str) -> Plan:
    """Plan the study without writing anything that stays."""
    places = Places(root)
    listed = recipes.read_recipes(options.recipes) if options.recipes else None
    if listed:
        _make_recipes(listed, options, places)
    with tempfile.TemporaryDirectory() as scratch, hold(scratch) as lock:
        index = places.index
        if not Path(index).exists():
            index = _find_index(options, Places(scratch), Runner(scratch, lock))
        return _make_plan(options, places, index, listed)


def _find_index(options: StudyOptions, places: Places, runner: Runner) -> str:
    """Take the index that is given, or make one."""
    if given := index_table.only_index(options.input):
        return given
    step = list_index_step(places, options.input, options.validation_labels)
    if runner.is_another(step):
        raise UsageError(
            f"--output {options.output}: holds a study of another --input; name "
            "another place"
        )
    try:
        runner.run(step)
    except RefusedError as error:
        raise UsageError(str(error)) from error
    return places.index


def _make_recipes(
    listed: Sequence[Listed],
    options: StudyOptions,
    places: Places,
) -> list[Recipe]:
    common = Common(
        flags=_list_common_flags(options),
        groups=options.groups,
        confusion=options.confusion or places.confusion,
        difficulty=options.difficulty or places.difficulty,
    )
    source = f"--recipes {options.recipes}" if options.recipes else "default recipes"
    return recipes.make_recipes(listed, common, source=source)


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
    foreseen = [
        prospects.foresee(recipe, inventory)
        for recipe in _make_recipes(listed, options, places)
    ]
    good = [one for one in foreseen if not one.problems]
    left_out = [
        LeftOut(one.recipe.name, prospects.say_problems(one.problems))
        for one in foreseen
        if one.problems
    ]
    if left_out and (options.recipes or not good):
        where = f"--recipes {options.recipes}" if options.recipes else "--input"
        lines = [f"{where}: {one.name}: {one.reason}" for one in left_out]
        raise UsageError("\n".join(lines))
    training = Training(
        models=tuple(split(options.models)),
        seeds=tuple(options.seed_numbers),
        epochs=options.epochs,
        words=options.train_words,
    )
    flags = _list_common_flags(options).items()
    return Plan(
        options=options,
        places=places,
        inventory=inventory,
        steps=Steps(places, index, [f"--{name}={value}" for name, value in flags]),
        note=note,
        prospects=good,
        left_out=left_out,
        full=training,
        subset=training._replace(epochs=options.subset_epochs or options.epochs),
    )


def _choose_recipes(
    options: StudyOptions, inventory: Inventory
) -> tuple[list[Listed], str]:
    held = classes.list_classes(inventory)
    num_manual = None
    if options.groups:
        flags = GroupingFlags(grouping="manual", groups=options.groups)
        num_manual = classes.group_classes(held, flags)[0].num_groups
    sizes, note = defaults.choose_sizes(len(held), inventory.total("train"))
    listed = defaults.list_recipes(sizes, num_classes=len(held), num_manual=num_manual)
    return list(listed), note
