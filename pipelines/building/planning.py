"""Plan a build: resolve the input, group the classes, select and assign the images."""

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines import grouping_flags
from pipelines.building import feasibility, fixed_images
from pipelines.building.feasibility import Availability
from pipelines.building.fixed_images import FixedImages
from pipelines.building.options import BuildOptions, Request
from pipelines.building.output import Place
from pipelines.building.recipe import make_recipe
from pipelines.index import resolve_input
from transforms import sampling, storage
from transforms.dataset import plan as dataset_plan
from transforms.dataset import statistics
from transforms.dataset.commit import CommitSettings
from transforms.dataset.plan import PlannedShard, PlanSummary
from transforms.difficulty import histogram
from transforms.difficulty import table as difficulty_table
from transforms.grouping.table import Grouping, GroupTable
from transforms.index import table as index_table
from transforms.index.inventory import Inventory
from transforms.processes import num_cores
from transforms.progress import phase
from transforms.records import JSON, ImageClass, Shard, UsageError, list_names
from transforms.sampling import plan as sample_plan
from transforms.sampling.plan import SamplePlan, SamplerOutput, SamplingRequest
from transforms.sampling.selection import select_images

if TYPE_CHECKING:
    import apache_beam as beam


def plan_build(request: Request, scratch: str) -> "BuildPlan":
    """Resolve the input, group its classes, and select and assign the images.

    Args:
      request: the dataset to build.
      scratch: folder for the index of raw ImageNet and the plan's files.

    Raises:
      UsageError: the input or the configuration is invalid; lists every problem, with
        the numbers that are feasible.
      JobError: the runner failed.
    """
    options = request.options
    with phase("index") as counts:
        index, inventory = resolve_input(
            options.input,
            options,
            scratch,
            checks_images=not options.dry_run,
            num_processes=min(options.threads, num_cores()),
            beam_flags=request.beam_flags,
        )
        if request.is_demonstration:  # the user knows that the images are drawn
            inventory = dataclasses.replace(inventory, warnings=())
        sys.stderr.write(inventory.describe() + "\n")
        if options.require_complete:
            inventory.check_complete()
        inventory.check_usable()
        fixed = fixed_images.select_images(request, index, inventory, scratch)
        counts["images"] = sum(inventory.num_images.values())
    with phase("group") as counts:
        table, grouping = _group_classes(request, inventory, fixed)
        counts["groups"] = table.num_groups
    with phase("plan") as counts:
        plan = _make_plan(
            request,
            index=index,
            inventory=inventory,
            table=table,
            grouping=grouping,
            scratch=scratch,
            fixed=fixed,
        )
        counts["images"] = sum(planned.num_images for planned in plan.shards)
        counts["shards"] = len(plan.shards)
    fixed_images.report_missing(options, fixed)
    return plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Location of a sampler's output: strata and sort keys, or splits, of the images.

    Attributes:
      folder: folder of the files; None if hashes alone select the images.
      scope: scope of the quota, "group" or "set", as in `SamplerOutput`.
      notes: messages for the user.
    """

    folder: str | None = None
    scope: str = "group"
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexedImages:
    """Read the keys and group labels of the usable training images, for samplers."""

    index: str
    num_row_groups: int
    table: GroupTable

    @functools.cached_property
    def row_groups(self) -> Sequence[pa.Table]:
        """Tables of image keys and group labels, one per row group."""
        return [self._read(number) for number in range(self.num_row_groups)]

    def _read(self, row_group: int) -> pa.Table:
        label_of = self.table.label_of
        images = index_table.read_row_group(
            self.index, row_group, split="train", wnids=sorted(label_of)
        )
        labels = [label_of[wnid] for wnid in images["wnid"].to_pylist()]
        return pa.table({"key": images["key"], "label": pa.array(labels, pa.int32())})

    def read(self) -> pa.Table:
        """Return the keys and labels of all usable training images of the groups."""
        return pa.concat_tables(self.row_groups)


def run_sampler(
    images: IndexedImages,
    *,
    sampler: str,
    options: Any,
    difficulty_file: str | None,
    seed: int,
    folder: str,
) -> Arrangement:
    """Run the sampler and write its output, if any, to files.

    Args:
      images: the images to sample from.
      sampler: name of the sampler.
      options: the sampler's options.
      difficulty_file: path of the difficulty table, for samplers that need one.
      seed: seed of the hashes.
      folder: folder to write to.

    Raises:
      UsageError: the options are invalid, or images have no difficulty.
    """
    request = SamplingRequest(
        read_images=images.read, seed=seed, difficulty_file=difficulty_file
    )
    output: SamplerOutput | None = sampling.load(sampler).arrange(request, options)
    if output is None:
        return Arrangement()
    sizes = [table.num_rows for table in images.row_groups]
    sample_plan.write_parts(output, sizes, folder)
    return Arrangement(folder=folder, scope=output.scope, notes=output.notes)


def measure_difficulty(
    images: IndexedImages,
    *,
    difficulty_file: str | None,
    plan_folder: str,
    shards: Sequence[PlannedShard],
) -> Mapping[str, JSON] | None:
    """Compute difficulty histograms of the available and of the selected images.

    Returns:
      Histograms by "available" and "chosen"; None without a difficulty table.
    """
    if difficulty_file is None:
        return None
    table = difficulty_table.read_table(difficulty_file)
    keys = {
        "available": images.read()["key"].combine_chunks(),
        "chosen": dataset_plan.read_train_keys(plan_folder, shards),
    }
    return {name: histogram.measure(table, k).to_json() for name, k in keys.items()}


def check_every_group(
    chosen: Mapping[str, Mapping[str, int]],
    table: GroupTable,
    sampled: Arrangement,
    *,
    sampler: str,
) -> None:
    """Check that a quota for the whole set leaves no group without training images.

    Args:
      chosen: number of selected images, by split and wnid.
      table: the groups.
      sampled: the sampler's output.
      sampler: name of the sampler, for the message.

    Raises:
      UsageError: groups are empty; the message names them.
    """
    if sampled.scope != "set":
        return
    trained = {w for split, c in chosen.items() if split != "validation" for w in c}
    filled = {table.label_of[wnid] for wnid in trained}
    empty = [table.names[n] for n in range(table.num_groups) if n not in filled]
    if empty:
        raise UsageError(
            f"--{sampler}_scope set: leaves {len(empty)} groups without training "
            f"images ({list_names(empty)}); use group, or raise --images_per_group"
        )


def compute_plan_id(
    recipe: Mapping[str, Any], shards: Sequence[Shard], *, sources_sha256: str
) -> str:
    """Return the hash of everything that determines the bytes of the shards."""
    names = ("subset_id", "groups_sha256", "formats", "versions")
    described = [[recipe[name] for name in names], list(shards), sources_sha256]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """The complete plan of a build, made before any image is read.

    Attributes:
      options: the job's options, with the dataset's name.
      inventory: counts of the input.
      table: the groups.
      folder: folder of the plan's files, one per shard.
      shards: the shards and their sizes.
      chosen: number of selected images, by split and wnid.
      available: number of available images of each group.
      difficulty: histograms of available and selected images; None without a
        difficulty table.
      num_bytes: estimated size of the dataset in bytes.
      recipe: contents of recipe.json.
      heldout_confusion: confusion matrix that only measures the groups, or None.
    """

    options: BuildOptions
    inventory: Inventory
    table: GroupTable
    folder: str
    shards: Sequence[PlannedShard]
    chosen: Mapping[str, Mapping[str, int]]
    available: Availability
    difficulty: Mapping[str, Any] | None
    num_bytes: int
    recipe: Mapping[str, Any]
    heldout_confusion: str | None

    @property
    def subset_id(self) -> str:
        """Hash of the image settings and the selected images."""
        return self.recipe["subset_id"]

    @property
    def plan_id(self) -> str:
        """Hash of everything that determines the bytes of the shards."""
        return self.recipe["plan_id"]

    def commit_settings(self, place: Place) -> CommitSettings:
        """Return the settings for committing the dataset to its folders."""
        return CommitSettings(
            root=place.root,
            work=place.work,
            target=place.target,
            name=place.name,
            version=place.version,
            formats=self.options.formats,
            table=self.table,
            subset_id=self.subset_id,
            recipe=self.recipe,
            found=statistics.count_found(self.inventory),
            bad=statistics.count_bad(self.inventory),
            chosen=self.chosen,
            shards=self.shards,
            max_failure_fraction=self.options.max_failure_fraction,
            difficulty=self.difficulty,
        )


def _group_classes(
    request: Request, inventory: Inventory, fixed: FixedImages | None
) -> tuple[GroupTable, Grouping]:
    """Assign the classes of the input to groups.

    If the sampler has selected the images, only their classes and counts matter, unless
    a table states the groups.

    Returns:
      The table of groups, and the result of the grouping method.

    Raises:
      UsageError: the grouping is not possible with these classes or options.
    """
    options = request.options
    of_input = len(inventory.wnids())
    if fixed and not grouping_flags.reads_groups(options):
        inventory = fixed.restrict(inventory)
    classes = _list_classes(inventory, options.sampling, request.sampling_options)
    try:
        return grouping_flags.group_classes(classes, options, request.grouping_options)
    except UsageError as error:
        if len(classes) == of_input:
            raise
        raise UsageError(
            f"{error}\n--images {options.images}: its images are of {len(classes)} of "
            f"the {of_input} classes of the input; only these are grouped"
        ) from None


def _make_plan(
    request: Request,
    *,
    index: str,
    inventory: Inventory,
    table: GroupTable,
    grouping: Grouping,
    scratch: str,
    fixed: FixedImages | None,
) -> BuildPlan:
    """Check feasibility, select images and assign them to shards.

    Args:
      request: the dataset to build.
      index: path of the index.
      inventory: counts of the index.
      table: the groups.
      grouping: the result of the grouping method.
      scratch: folder for the plan's files.
      fixed: the images that the sampler has selected; None if the sampler does not
        select the images itself.

    Raises:
      UsageError: lists every problem, with the numbers that are feasible.
      JobError: the runner failed.
    """
    options = request.options
    # The manifest refers to files of the first format, so the order is fixed.
    formats = tuple(sorted(options.formats, reverse=True))
    options = dataclasses.replace(options, formats=formats)
    images = IndexedImages(
        index=index, num_row_groups=inventory.num_row_groups, table=table
    )
    if fixed:
        sampled = Arrangement(folder=fixed.folder, notes=fixed.notes)
        problems = [*fixed.find_outside(request, table)]
    else:
        sampled, problems = _sample(request, images, f"{scratch}/arrangement")
    available, num_bytes, infeasible = feasibility.check(
        options,
        fixed.restrict(inventory) if fixed else inventory,
        table,
        scope=sampled.scope,
        sampling_options=request.sampling_options,
    )
    if problems := [*problems, *infeasible]:
        raise UsageError("\n".join(problems))
    plan = _plan_sample(request, table, available, sampled)
    folder = str(Path(scratch, "plan").absolute())
    Path(folder).mkdir()
    select = _select_on_engine if request.beam_flags else _select
    planned = select(
        request,
        index=storage.absolute(index),
        num_row_groups=inventory.num_row_groups,
        plan=plan,
        plan_folder=folder,
    )
    if options.name is None:
        name = _name_dataset(request, table)
        options = dataclasses.replace(options, name=name)
    check_every_group(planned.chosen, table, sampled, sampler=options.sampling)
    subset_id = dataset_plan.compute_subset_id(
        planned.lines, options.image_settings.describe()
    )
    recipe = make_recipe(
        options,
        grouping_options=request.grouping_options,
        sampling_options=request.sampling_options,
        result=grouping,
        sampling_notes=sampled.notes,
        table=table,
        inventory=inventory,
        subset_id=subset_id,
    )
    recipe["plan_id"] = compute_plan_id(
        recipe,
        [shard for shard, _ in planned.shards],
        sources_sha256=planned.sources_sha256,
    )
    return BuildPlan(
        options=options,
        inventory=inventory,
        table=table,
        folder=folder,
        shards=planned.shards,
        chosen=planned.chosen,
        difficulty=measure_difficulty(
            images,
            difficulty_file=options.difficulty,
            plan_folder=folder,
            shards=planned.shards,
        ),
        available=available,
        num_bytes=num_bytes,
        recipe=recipe,
        heldout_confusion=getattr(request.grouping_options, "heldout", None),
    )


def _list_classes(
    inventory: Inventory, sampler: str, sampling_options: object
) -> tuple[ImageClass, ...]:
    """List the classes, without counting training images that the sampler excludes."""
    return tuple(
        c._replace(
            num_train=c.num_train
            - sampling.count_left_out(sampler, c.num_train, sampling_options)
        )
        for c in grouping_flags.list_classes(inventory)
    )


def _sample(
    request: Request, images: IndexedImages, folder: str
) -> tuple[Arrangement, list[str]]:
    """Run the sampler; return its output and its error messages."""
    options = request.options
    try:
        sampled = run_sampler(
            images,
            sampler=options.sampling,
            options=request.sampling_options,
            difficulty_file=options.difficulty,
            seed=options.seed,
            folder=str(Path(folder).absolute()),
        )
    except UsageError as error:
        return Arrangement(), str(error).splitlines()
    for note in sampled.notes:
        sys.stderr.write(f"{note}\n")
    return sampled, []


def _plan_sample(
    request: Request, table: GroupTable, available: Availability, sampled: Arrangement
) -> SamplePlan:
    """Create the `SamplePlan` that determines which images are selected."""
    options = request.options
    return SamplePlan(
        label_of=table.label_of,
        top_ups=available.top_ups,
        images_per_group=options.images_per_group,
        stratify_by_class=options.stratify_by_class,
        num_folds=options.folds,
        seed=options.seed,
        scope=sampled.scope,
        arrangement=sampled.folder,
        is_fixed=sampling.is_fixed(options.sampling),
    )


def _select(
    request: Request,
    *,
    index: str,
    num_row_groups: int,
    plan: SamplePlan,
    plan_folder: str,
) -> PlanSummary:
    """Select images and write the plan's files in this process, without Beam."""
    return dataset_plan.write_parts(
        select_images(index, num_row_groups, plan),
        seed=plan.seed,
        images_per_shard=request.options.images_per_shard,
        folder=plan_folder,
    )


def _select_on_engine(
    request: Request,
    *,
    plan_folder: str,
    **described: Any,
) -> PlanSummary:
    """Select images and write the plan's files on the embedded runner."""
    from pipelines import engine

    embedded = engine.use_embedded_runner(request.beam_flags)
    if not embedded:
        return _select(request, plan_folder=plan_folder, **described)
    define = functools.partial(
        define_pipeline,
        images_per_shard=request.options.images_per_shard,
        plan_folder=plan_folder,
        **described,
    )
    engine.run(define, engine.make_beam_options(embedded))
    return dataset_plan.read_summary(plan_folder)


def define_pipeline(
    root: "beam.Pipeline",
    *,
    index: str,
    num_row_groups: int,
    plan: SamplePlan,
    images_per_shard: int,
    plan_folder: str,
) -> None:
    """Wire the pipeline that selects images and writes the plan's files.

    Args:
      root: the pipeline.
      index: path of the index.
      num_row_groups: number of row groups of the index.
      plan: groups, quotas, seed and sampler output.
      images_per_shard: largest number of images per shard.
      plan_folder: folder to write to.
    """
    import apache_beam as beam

    from transforms.sampling.steps import SampleImages

    _ = (
        root
        | "ListRowGroups" >> beam.Create(range(num_row_groups), reshuffle=False)
        | "SpreadRowGroups" >> beam.Reshuffle()
        | SampleImages(index, plan, num_row_groups)
        | "WritePlan"
        >> beam.Map(
            dataset_plan.write_parts,
            seed=plan.seed,
            images_per_shard=images_per_shard,
            folder=plan_folder,
        )
    )


def _name_dataset(request: Request, table: GroupTable) -> str:
    """Return the default name of the dataset."""
    options = request.options
    if options.preset:
        return f"subset_{options.preset}"
    name = f"subset_{options.grouping}_n{table.num_groups}"
    if sampling.is_fixed(options.sampling):
        return f"{name}_{options.sampling}"
    return f"{name}_m{options.images_per_group or 'all'}"
