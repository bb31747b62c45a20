"""A build's options → its dataset: index, groups, plan, shards, each seen to be sound.

    raw ImageNet ─ index ─┬─ classes ─ groups ─┐
                          └────────────── plan ─┴─ shards ─ dataset
"""

import dataclasses
import functools
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pyarrow as pa

from pipelines import engine, feasibility, inputs, miniature, output, summary
from pipelines.index import index_images
from transforms import (
    __version__,
    grouping,
    groups,
    index_table,
    plan,
    progress,
    statistics,
)
from transforms.assign import AssignShards
from transforms.commit import CommitDataset, CommitSettings
from transforms.groups import GroupingRequest, GroupTable
from transforms.images.settings import describe_libraries
from transforms.index_table import Inventory
from transforms.labels import classes
from transforms.records import ImageClass, UsageError
from transforms.sample import SampleImages, SamplePlan
from transforms.write import ShardSettings, WriteShards

if TYPE_CHECKING:
    from pipelines.build import BuildOptions

_LOG = logging.getLogger(__name__)


def make_demonstration(options: "BuildOptions") -> "BuildOptions":
    """Draw the miniature and make a small subset of it."""
    folder = str(Path(options.output) / "miniature_imagenet")
    sys.stderr.write(f"no --input: drawing a miniature ImageNet in {folder}\n")
    miniature.ensure_miniature(
        folder, num_classes=20, num_train=60, num_validation=20
    )
    return dataclasses.replace(
        options,
        input=(folder,),
        grouping="random_groups",
        num_groups=5,
        images_per_group=200,
        min_validation_images=400,
        image_size=64,
        images_per_shard=250,
        name=options.name or "demonstration",
    )


def build(
    options: "BuildOptions", own: Mapping[str, Any], beam_flags: Sequence[str]
) -> str:
    """Build a subset; returns the dataset's directory, or the plan's.

    Raises:
      UsageError: what the user must mend, all that is found before images are read.
      JobError: what went wrong later.
    """
    Path(options.output).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".planning-", dir=options.output
    ) as scratch:
        index, inventory = _index(options, scratch, beam_flags)
        table, notes = _group(options, own, inventory)
        plan_folder = f"{scratch}/plan"
        sample_plan = _make_sample_plan(options, own, inventory, table)
        _plan(options, sample_plan, index, inventory, plan_folder, beam_flags)
        return _finish(
            options, inventory, table, notes, plan_folder, beam_flags
        )


def _index(
    options: "BuildOptions", scratch: str, beam_flags: Sequence[str]
) -> tuple[str, Inventory]:
    """Take the index that is given, or make one of raw ImageNet."""
    if len(options.input) == 1 and index_table.is_index(options.input[0]):
        index = options.input[0]
        inventory = index_table.read_inventory(index)
    else:
        pieces, told = inputs.find_pieces(options.input, options.validation_labels)
        for line in told:
            sys.stderr.write(f"found {line}\n")
        index = f"{scratch}/index.parquet"
        inventory = index_images(
            pieces, output=index, num_inspect_threads=0, beam_flags=beam_flags
        )
    sys.stderr.write(index_table.describe(inventory) + "\n")
    return index, inventory


def list_classes(inventory: Inventory) -> tuple[ImageClass, ...]:
    """Return the classes of an input as groupings see them."""
    counts = inventory.num_images
    return tuple(
        ImageClass(
            wnid,
            classes.class_index(wnid),
            classes.display_name(wnid),
            counts.get(index_table.ClassSplit(wnid, "train"), 0),
            counts.get(index_table.ClassSplit(wnid, "validation"), 0),
        )
        for wnid in inventory.wnids()
    )


def _group(
    options: "BuildOptions", own: Mapping[str, Any], inventory: Inventory
) -> tuple[GroupTable, Sequence[str]]:
    """Group the classes that the input holds."""
    held = list_classes(inventory)
    request = GroupingRequest(
        classes=held,
        num_groups=options.num_groups,
        seed=options.seed,
        images_per_group=options.images_per_group,
        min_validation_images=options.min_validation_images,
        allow_small_validation=options.allow_small_validation,
        groups_file=options.groups,
    )
    method = grouping.load(options.grouping or "")
    own_options = own.get("grouping", method.Options())
    result = method.group_classes(request, own_options)
    for note in result.notes:
        sys.stderr.write(f"{note}\n")
    return groups.make_table(held, result.assignment, result.names), result.notes


def _make_sample_plan(
    options: "BuildOptions",
    own: Mapping[str, Any],
    inventory: Inventory,
    table: GroupTable,
) -> SamplePlan:
    """See that every group can serve, and decide how.

    Raises: UsageError: short groups, small validation, lack of space; all at once.
    """
    reserved = options.images_per_group or 0
    available = feasibility.measure(
        inventory,
        table,
        min_validation_images=options.min_validation_images,
        reserved=reserved if options.allow_small_validation else 0,
    )
    num_train = sum(
        options.images_per_group or available.num_free(label)
        for label in range(table.num_groups)
        if available.num_train[label]
    )
    num_validation = sum(available.num_validation.values()) + sum(
        available.top_ups.values()
    )
    needed = feasibility.estimate_bytes(
        num_train + num_validation,
        options.images,
        mean_source_bytes=sum(inventory.num_bytes.values())
        / max(sum(inventory.num_images.values()), 1),
        num_formats=len(options.formats),
    )
    problems = [
        *feasibility.find_short_groups(available, table, options.images_per_group),
        *feasibility.find_small_validation(
            available,
            options.min_validation_images,
            is_allowed=options.allow_small_validation,
        ),
        *feasibility.find_lack_of_space(options.output, needed),
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return SamplePlan(
        label_of=table.label_of,
        top_ups=available.top_ups,
        images_per_group=options.images_per_group,
        sampler=options.sampling,
        sampler_options=own.get("sampling"),
        stratify_by_class=options.stratify_by_class,
        num_folds=options.folds,
        seed=options.seed,
    )


def define_plan(
    root: beam.Pipeline,
    *,
    index: str,
    num_row_groups: int,
    sample_plan: SamplePlan,
    images_per_shard: int,
    plan_folder: str,
) -> None:
    """Wire an index → sample → assign → the plan's files."""
    _ = (
        root
        | "ListRowGroups" >> beam.Create(range(num_row_groups), reshuffle=False)
        | "SpreadRowGroups" >> beam.Reshuffle()
        | SampleImages(index, sample_plan)
        | AssignShards(sample_plan.seed, images_per_shard)
        | "WritePlan" >> beam.MapTuple(functools.partial(plan.write_part, folder=plan_folder))
    )


def _plan(
    options: "BuildOptions",
    sample_plan: SamplePlan,
    index: str,
    inventory: Inventory,
    plan_folder: str,
    beam_flags: Sequence[str],
) -> None:
    """Decide every image, its split and its shard."""
    Path(plan_folder).mkdir()
    define = functools.partial(
        define_plan,
        index=str(Path(index).absolute()),
        num_row_groups=inventory.num_row_groups,
        sample_plan=sample_plan,
        images_per_shard=options.images_per_shard,
        plan_folder=str(Path(plan_folder).absolute()),
    )
    engine.run(define, engine.make_beam_options(beam_flags))


def make_recipe(
    options: "BuildOptions", inventory: Inventory, table: GroupTable, subset_id: str
) -> dict[str, Any]:
    """Describe how the subset is made: all that decides its bytes, no path, no time."""
    return {
        "subset_id": subset_id,
        "input_fingerprint": inventory.fingerprint,
        "groups_sha256": table.sha256,
        "grouping": options.grouping,
        "num_groups": table.num_groups,
        "sampling": options.sampling,
        "images_per_group": options.images_per_group,
        "stratify_by_class": options.stratify_by_class,
        "folds": options.folds,
        "min_validation_images": options.min_validation_images,
        "allow_small_validation": options.allow_small_validation,
        "seed": options.seed,
        "images": options.images.describe(),
        "name": options.name,
        "dataset_version": options.dataset_version,
        "formats": list(options.formats),
        "images_per_shard": options.images_per_shard,
        "versions": {
            "imagenet-subsets": __version__,
            "pyarrow": pa.__version__,
            **describe_libraries(),
        },
    }


def _finish(
    options: "BuildOptions",
    inventory: Inventory,
    table: GroupTable,
    notes: Sequence[str],
    plan_folder: str,
    beam_flags: Sequence[str],
) -> str:
    """Compare the plan with what is there, then write it."""
    if options.name is None:
        images = options.images_per_group or "all"
        name = f"subset_{options.grouping}_n{table.num_groups}_m{images}"
        options = dataclasses.replace(options, name=name)
    shards = plan.list_shards(plan_folder)
    subset_id = plan.compute_subset_id(
        plan.read_lines(plan_folder), options.images.describe()
    )
    recipe = make_recipe(options, inventory, table, subset_id)
    recipe["notes"] = list(notes)
    recipe["plan_id"] = output.compute_plan_id(
        subset_id=subset_id,
        groups_sha256=table.sha256,
        formats=options.formats,
        shards=[planned.shard for planned in shards],
        versions=recipe["versions"],
    )
    place = output.Place(
        output=options.output, name=options.name or "", version=options.dataset_version
    )
    settings = CommitSettings(
        root=place.partial,
        target=place.target,
        name=place.name,
        version=place.version,
        formats=options.formats,
        table=table,
        subset_id=subset_id,
        recipe=recipe,
        found=statistics.count_found(inventory),
        bad=statistics.count_bad(inventory),
        chosen=plan.count_by_class(plan_folder),
        max_failure_fraction=options.max_failure_fraction,
    )
    _LOG.info("plan %s: %s images in %s shards", subset_id[:12], settings.num_chosen,
              len(shards))
    if options.plan_only:
        described = summary.describe_plan(settings)
        sys.stderr.write(described + "\n")
        return output.write_plan(
            place,
            plan_folder,
            groups_csv=groups.to_csv(table),
            recipe=recipe,
            statistics=statistics.describe(
                table=table,
                found=settings.found,
                bad=settings.bad,
                chosen=settings.chosen,
                failures=(),
            ),
        )
    if not output.is_finished(place, recipe["plan_id"]):
        output.prepare(place, recipe["plan_id"], plan_folder, resume=options.resume)
        _write(options, settings, inventory, beam_flags)
    sys.stderr.write(summary.describe_dataset(place.target) + "\n")
    return place.target


def define_write(
    root: beam.Pipeline,
    *,
    shards: Sequence[plan.PlannedShard],
    shard_settings: ShardSettings,
    commit_settings: CommitSettings,
) -> None:
    """Wire the plan → shards → the dataset."""
    _ = (
        root
        | "ListShards" >> beam.Create([planned.shard for planned in shards])
        | WriteShards(shard_settings)
        | CommitDataset(commit_settings)
    )


def _write(
    options: "BuildOptions",
    settings: CommitSettings,
    inventory: Inventory,
    beam_flags: Sequence[str],
) -> None:
    """Write the shards, with a progress bar, and let the dataset appear."""
    ticks = f"{settings.root}/ticks"
    plan_folder = f"{settings.root}/plan"
    shard_settings = ShardSettings(
        root=settings.root,
        plan_folder=plan_folder,
        roots=inventory.roots,
        name=settings.name,
        formats=options.formats,
        folders=settings.table.folders,
        images=options.images,
        num_threads=options.threads,
        ticks=ticks,
    )
    define = functools.partial(
        define_write,
        shards=plan.list_shards(plan_folder),
        shard_settings=shard_settings,
        commit_settings=settings,
    )
    with progress.show(
        ticks, total=settings.num_chosen, what="writing", unit="image"
    ):
        engine.run(define, engine.make_beam_options(beam_flags))
