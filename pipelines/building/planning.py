"""A build's options → its plan: which images, in which groups, splits and shards.

raw ImageNet ─ index ─┬─ classes ─ groups ─┐
                      └────────────────────┴─ plan
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines import classes, engine, inputs
from pipelines.building import arranging, feasibility, recipes
from pipelines.building.arranging import Arranged, IndexedImages
from pipelines.building.feasibility import Availability
from pipelines.building.options import BuildOptions
from pipelines.index import index_images
from transforms import sampling, storage
from transforms.assign import AssignShards
from transforms.records import ImageClass, UsageError
from transforms.sample import SampleImages
from transforms.selection.sample_plan import SamplePlan
from transforms.tables import index_table, plan
from transforms.tables.groups import GroupTable
from transforms.tables.inventory import Inventory, read_inventory
from transforms.tables.plan import PlannedShard


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A build's options, those of its methods, and Beam's flags."""

    options: BuildOptions
    grouping_options: Any
    sampling_options: Any
    beam_flags: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """All that is decided before the first image is read."""

    options: BuildOptions  # with the name
    inventory: Inventory
    table: GroupTable
    folder: str  # of the plan's files
    shards: Sequence[PlannedShard]
    chosen: Mapping[str, Mapping[str, int]]  # split → wnid → images
    available: Availability
    difficulty: Mapping[str, Any] | None  # histograms of all images and the chosen
    num_bytes: int  # of the output, estimated
    recipe: Mapping[str, Any]

    @property
    def subset_id(self) -> str:
        """What the subset is, however it was made."""
        return self.recipe["subset_id"]

    @property
    def plan_id(self) -> str:
        """What decides the bytes of the dataset."""
        return self.recipe["plan_id"]


def make_plan(request: Request, scratch: str) -> BuildPlan:
    """Index, group, see what is feasible, and sample.

    Args:
      request: what is wanted.
      scratch: a folder for the index and the plan.
    Raises: UsageError: what the user must mend.
    """
    options = request.options
    # In one order whatever the user's: the manifest has the first format's places.
    formats = tuple(sorted(options.formats, reverse=True))
    options = dataclasses.replace(options, formats=formats)
    index, inventory = _find_images(request, scratch)
    table, result = classes.group_classes(
        _list_classes(inventory, request.sampling_options),
        options,
        request.grouping_options,
    )
    images = IndexedImages(
        index=index, num_row_groups=inventory.num_row_groups, table=table
    )
    arranged, problems = _arrange(request, images, f"{scratch}/arrangement")
    available, num_bytes, found = feasibility.check(
        options,
        inventory,
        table,
        scope=arranged.scope,
        sampling_options=request.sampling_options,
    )
    if problems := [*problems, *found]:
        raise UsageError("\n".join(problems))
    sample_plan = _plan_sample(request, table, available, arranged)
    folder = str(Path(scratch, "plan").absolute())
    Path(folder).mkdir()
    define = functools.partial(
        define_pipeline,
        index=storage.absolute(index),
        num_row_groups=inventory.num_row_groups,
        sample_plan=sample_plan,
        images_per_shard=options.images_per_shard,
        plan_folder=folder,
    )
    engine.run(define, engine.make_beam_options(request.beam_flags))
    if options.name is None:
        name = _name_dataset(request, table)
        options = dataclasses.replace(options, name=name)
    chosen = plan.count_by_class(folder)
    arranging.check_every_group(chosen, table, arranged)
    shards = plan.list_shards(folder)
    subset_id = plan.compute_subset_id(
        plan.read_lines(folder), options.images.describe()
    )
    described = recipes.make_recipe(
        options,
        grouping_options=request.grouping_options,
        sampling_options=request.sampling_options,
        result=result,
        sampling_notes=arranged.notes,
        table=table,
        input_fingerprint=inventory.fingerprint,
        subset_id=subset_id,
    )
    described["plan_id"] = recipes.compute_plan_id(
        described,
        [planned.shard for planned in shards],
        sources_sha256=plan.hash_sources(folder),
    )
    return BuildPlan(
        options=options,
        inventory=inventory,
        table=table,
        folder=folder,
        shards=shards,
        chosen=chosen,
        difficulty=arranging.measure_difficulty(
            images, difficulty_file=options.difficulty, plan_folder=folder
        ),
        available=available,
        num_bytes=num_bytes,
        recipe=described,
    )


def _find_images(request: Request, scratch: str) -> tuple[str, Inventory]:
    """Take the index that is given, or make one of raw ImageNet."""
    options = request.options
    if len(options.input) == 1 and index_table.is_index(options.input[0]):
        index = options.input[0]
        inventory = read_inventory(index)
        if moved := [root for root in inventory.roots if not storage.exists(root)]:
            raise UsageError(
                f"--input {index}: its images lay in {moved[0]}, which is gone; put "
                "them back, or make the index again with python -m pipelines.index"
            )
        inputs.check_versions(index, inventory.versions)
    else:
        pieces, told = inputs.find_pieces(options.input, options.validation_labels)
        for line in told:
            sys.stderr.write(f"found {line}\n")
        index = f"{scratch}/index.parquet"
        inventory = index_images(
            pieces, output=index, num_inspect_threads=0, beam_flags=request.beam_flags
        )
    sys.stderr.write(inventory.describe() + "\n")
    if not inventory.num_images:
        raise UsageError(f"--input {' '.join(options.input)}: no usable images")
    return index, inventory


def _list_classes(
    inventory: Inventory, sampling_options: object
) -> tuple[ImageClass, ...]:
    """List the classes with the training images that the sampler leaves them."""
    return tuple(
        c._replace(
            num_train=c.num_train
            - sampling.count_left_out(c.num_train, sampling_options)
        )
        for c in classes.list_classes(inventory)
    )


def _arrange(
    request: Request, images: IndexedImages, folder: str
) -> tuple[Arranged, list[str]]:
    """Ask the sampler; what it does not allow is told with all other problems."""
    options = request.options
    try:
        arranged = arranging.arrange(
            images,
            sampler=options.sampling,
            options=request.sampling_options,
            difficulty_file=options.difficulty,
            seed=options.seed,
            folder=str(Path(folder).absolute()),
        )
    except UsageError as error:
        return Arranged(), str(error).splitlines()
    for note in arranged.notes:
        sys.stderr.write(f"{note}\n")
    return arranged, []


def _plan_sample(
    request: Request, table: GroupTable, available: Availability, arranged: Arranged
) -> SamplePlan:
    """Gather what decides which images are chosen."""
    options = request.options
    return SamplePlan(
        label_of=table.label_of,
        top_ups=available.top_ups,
        images_per_group=options.images_per_group,
        stratify_by_class=options.stratify_by_class,
        num_folds=options.folds,
        seed=options.seed,
        scope=arranged.scope,
        arrangement=arranged.folder,
    )


def define_pipeline(
    root: beam.Pipeline,
    *,
    index: str,
    num_row_groups: int,
    sample_plan: SamplePlan,
    images_per_shard: int,
    plan_folder: str,
) -> None:
    """Wire an index → sample → assign → the plan's files."""
    write = functools.partial(plan.write_part, folder=plan_folder)
    _ = (
        root
        | "ListRowGroups" >> beam.Create(range(num_row_groups), reshuffle=False)
        | "SpreadRowGroups" >> beam.Reshuffle()
        | SampleImages(index, sample_plan)
        | AssignShards(sample_plan.seed, images_per_shard)
        | "WritePlan" >> beam.MapTuple(write)
    )


def _name_dataset(request: Request, table: GroupTable) -> str:
    """Make the default name of its recipe's words."""
    options = request.options
    if options.preset:
        return f"subset_{options.preset}"
    images = options.images_per_group or "all"
    return f"subset_{options.grouping}_n{table.num_groups}_m{images}"
