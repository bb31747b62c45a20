"""Write a planned build: the plan's files, or the dataset with its commit mark."""

import functools
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import engine, store_flags
from pipelines.building import output
from pipelines.building.options import Request
from pipelines.building.output import Place, read_committed
from pipelines.building.planning import BuildPlan
from transforms import formats, progress, storage
from transforms.charts import Series
from transforms.dataset import paths, statistics
from transforms.dataset import shards as dataset_shards
from transforms.dataset.commit import CommitSettings, remove_work
from transforms.dataset.shards import ShardSettings, count_processes
from transforms.dataset.steps import CommitDataset, WriteShards
from transforms.evaluation import significance
from transforms.grouping import table as groups
from transforms.processes import num_cores
from transforms.records import JobError, Shard
from transforms.reports import groups as group_report
from transforms.reports.groups import GroupCounts, GroupsPage, make_page
from transforms.reports.page import Page


def describe_plan(settings: CommitSettings) -> str:
    """Summarise a plan."""
    planned = _describe_selection(settings)
    lines = [f"plan of {settings.name} {settings.version}"]
    lines += [
        f"  {split}: {sum(counts.values())} images of {len(counts)} classes"
        for split, counts in settings.chosen.items()
    ]
    lines += [f"  {line}" for line in statistics.describe_splits(planned)]
    lines.append(f"  {settings.table.num_groups} groups, subset {settings.subset_id}")
    return "\n".join([*lines, *_find_warnings(planned, settings.recipe)])


def _describe_selection(settings: CommitSettings) -> dict[str, Any]:
    """Compute the statistics of a plan."""
    return statistics.describe(
        table=settings.table,
        found=settings.found,
        bad=settings.bad,
        chosen=settings.chosen,
        failures=(),
        difficulty=settings.difficulty,
    )


def _find_warnings(planned: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[str]:
    warning = statistics.find_warning(planned, recipe["min_validation_images"])
    return [warning] if warning else []


def describe_dataset(target: str) -> str:
    """Summarise a dataset: counts, location and how to load it."""
    described = json.loads(storage.read(f"{target}/{paths.STATISTICS}"))
    recipe = json.loads(storage.read(f"{target}/{paths.RECIPE}"))
    split = next(iter(described["groups"][0]["written"]))
    version = recipe["dataset_version"]
    # Loaders need a local copy.
    fetch = store_flags.describe_copy(target, f"./{version}")
    place = f"./{version}" if fetch else target
    snippet = formats.load(recipe["formats"][0]).loading_snippet(place, split)
    return "\n".join([
        f"{recipe['name']} {recipe['dataset_version']}, subset "
        f"{described['subset_id'][:12]}",
        *_describe_splits(described),
        *_describe_totals(described),
        f"  contact sheet: {target}/{paths.PREVIEW}",
        "",
        *(["copy it:", f"    {fetch}", ""] if fetch else []),
        "load it:",
        *(f"    {line}" for line in snippet.splitlines()),
        "",
        "verify it:",
        f"    python -m pipelines.verify {shlex.quote(target)}"
        f"{store_flags.describe_given()}",
    ])


def _describe_splits(described: Mapping[str, Any]) -> list[str]:
    groups = described["groups"]
    lines = []
    for split in groups[0]["written"]:
        counts = [group["written"][split] for group in groups]
        least, most = min(counts), max(counts)
        each = f"{least}" if least == most else f"{least} to {most}"
        lines.append(
            f"  {split}: {sum(counts)} images, {each} in each of {len(groups)} groups"
        )
    return lines + [f"  {line}" for line in statistics.describe_splits(described)]


def _describe_totals(described: Mapping[str, Any]) -> list[str]:
    totals, conversions = described["totals"], dict(described["oddities"])
    num_smaller = conversions.pop("smaller_than_asked", 0)
    lines = [
        f"  of {totals['found']} images found, {totals['left_out']} were left out, "
        f"{totals['failed']} failed"
    ]
    if num_smaller:
        lines.append(
            f"  {num_smaller} images are smaller than --image_size; "
            "--upscale enlarges them"
        )
    if conversions:
        counts = ", ".join(f"{count} {name}" for name, count in conversions.items())
        lines.append(f"  conversions: {counts}")
    return lines


def make_plan_page(plan: BuildPlan, place: Place) -> Page:
    """Create the page of a plan: groups, images, estimated size, statistical power."""
    options, available = plan.options, plan.available
    captured = group_report.measure_captured(plan.table, options.confusion)
    chosen = {split: sum(counts.values()) for split, counts in plan.chosen.items()}
    planned = _describe_selection(_make_commit_settings(plan, place))
    sources = planned["validation"]
    page = GroupsPage(
        title=f"Plan of {place.name} {place.version}",
        method=(
            f"--grouping {options.grouping}, --sampling {options.sampling}, seed "
            f"{options.seed}; subset {plan.subset_id[:12]}"
        ),
        table=plan.table,
        counts=[
            GroupCounts(
                num_train=available.num_train[label],
                num_validation=available.num_validation[label],
                num_set_aside=available.top_ups[label],
                num_wanted=_count_train(plan, label),
            )
            for label in range(plan.table.num_groups)
        ],
        facts=[
            *((f"{split} images", f"{count:,}") for split, count in chosen.items()),
            ("official validation images", f"{sources['official']:,}"),
            ("held out of training", f"{sources['held_out']:,}"),
            ("shards", len(plan.shards)),
            ("estimated output", f"{plan.num_bytes / 1e9:.2f} GB"),
        ],
        notes=[
            *plan.recipe["grouping_notes"],
            *statistics.describe_splits(planned),
            *_find_warnings(planned, plan.recipe),
        ],
        captured=captured,
        paths=group_report.find_paths(plan.table, options.grouping),
        contact_sheet=_find_contact_sheet(plan, place),
        power=_find_power(chosen.get("validation", 0), plan.table.num_groups),
        difficulty=[
            Series(f"images {name}", histogram["images_by_percent"])
            for name, histogram in (plan.difficulty or {}).items()
        ],
    )
    return make_page(page)


def _find_power(num_validation: int, num_groups: int) -> list[tuple[str, str]]:
    if not num_validation:
        return []
    return significance.describe_power(num_validation, num_groups)


def _count_train(plan: BuildPlan, label: int) -> int:
    """Count the selected training images of a group, in all folds."""
    wnids = plan.table.wnids(label)
    return sum(
        counts.get(wnid, 0)
        for split, counts in plan.chosen.items()
        if split != "validation"
        for wnid in wnids
    )


def _find_contact_sheet(plan: BuildPlan, place: Place) -> bytes | None:
    """Return the contact sheet of the dataset, if this plan has been built."""
    sheet = f"{place.target}/{paths.PREVIEW}"
    if not storage.exists(sheet) or read_committed(place.target) != plan.plan_id:
        return None
    return storage.read(sheet)


def _make_commit_settings(plan: BuildPlan, place: Place) -> CommitSettings:
    return CommitSettings(
        root=place.root,
        work=place.work,
        target=place.target,
        name=place.name,
        version=place.version,
        formats=plan.options.formats,
        table=plan.table,
        subset_id=plan.subset_id,
        recipe=plan.recipe,
        found=statistics.count_found(plan.inventory),
        bad=statistics.count_bad(plan.inventory),
        chosen=plan.chosen,
        max_failure_fraction=plan.options.max_failure_fraction,
        difficulty=plan.difficulty,
    )


def write_plan(plan: BuildPlan, scratch: str) -> str:
    """Write the plan's files and page; return their directory."""
    place = output.find_place(plan.options)
    settings = _make_commit_settings(plan, place)
    sys.stderr.write(f"{describe_plan(settings)}\n")
    return output.write_plan(
        place,
        plan.folder,
        scratch=scratch,
        groups_csv=groups.to_csv(plan.table),
        recipe=plan.recipe,
        statistics=_describe_selection(settings),
        page=make_plan_page(plan, place),
    )


def write_dataset(request: Request, plan: BuildPlan, scratch: str) -> str:
    """Write the shards, then commit the dataset; return its directory.

    Does nothing if the dataset of this plan exists.

    Raises:
      UsageError: something else is in the way of the output.
      JobError: the job failed.
    """
    place = output.find_place(plan.options)
    output.make_folder(place.folder)
    planned = _describe_selection(_make_commit_settings(plan, place))
    for warning in _find_warnings(planned, plan.recipe):
        sys.stderr.write(f"{warning}\n")
    is_done = output.is_finished(place, plan.plan_id) or _run_pipeline(
        request, plan, place=place, ticks=f"{scratch}/ticks"
    )
    if is_done:
        summary = describe_dataset(place.target)
    else:
        summary = f"the dataset is complete when {place.target}/{paths.COMPLETE} exists"
    sys.stderr.write(f"{summary}\n")
    return place.target


def _describe_resumed(plan: BuildPlan, settings: CommitSettings) -> str:
    shards = [planned.shard for planned in plan.shards]
    kept = dataset_shards.list_resumable(settings.root, shards, work=settings.work)
    if not kept:
        return f"--resume: no shard is complete; all {len(shards)} are written"
    num_images = sum(part.num_images for part in kept)
    return (
        f"--resume: keeps {len(kept)} of {len(shards)} shards, with {num_images} of "
        f"{settings.num_chosen} images, if their checksums are right"
    )


def _run_pipeline(
    request: Request, plan: BuildPlan, *, place: Place, ticks: str
) -> bool:
    """Run the pipeline that writes the shards and commits the dataset.

    Two jobs can build the same plan in a bucket at once. The first to finish removes
    the work files that the other needs, but then the dataset is complete.

    Returns:
      Whether the dataset is complete; False if the job was only submitted.
    """
    settings = _make_commit_settings(plan, place)
    beam_options = request.beam_options
    ticks_path = None  # remote workers cannot write to a file of this machine
    if engine.is_embedded(beam_options):
        ticks_path = str(Path(ticks).absolute())
    define = _bind_pipeline(plan, settings, beam_options=beam_options, ticks=ticks_path)
    with output.acquire_output(
        place, plan.plan_id, plan.folder, resume=plan.options.resume
    ) as has_work:
        if not has_work:
            return True
        if plan.options.resume:
            sys.stderr.write(f"{_describe_resumed(plan, settings)}\n")
        bar = progress.show(
            ticks_path, total=settings.num_chosen, what="writing", unit="image"
        )
        try:
            with bar:
                return engine.run(define, beam_options)
        except (JobError, OSError):
            if not place.is_remote or not output.is_finished(place, plan.plan_id):
                raise
            remove_work(settings.work)
            return True


def define_pipeline(
    root: beam.Pipeline,
    *,
    shards: Sequence[Shard],
    shard_settings: ShardSettings,
    commit_settings: CommitSettings,
    num_processes: int = 1,
) -> None:
    """Wire the pipeline that writes and commits a dataset.

    Args:
      root: the pipeline.
      shards: the shards to write.
      shard_settings: settings of all shards.
      commit_settings: settings of the commit.
      num_processes: number of processes that write on this machine; 1 leaves the
        parallelism to the engine.
    """
    _ = (
        root
        # Not reshuffled here: WriteShards distributes the shards.
        | "ListShards" >> beam.Create(shards, reshuffle=False)
        | WriteShards(shard_settings, num_processes)
        | CommitDataset(commit_settings)
    )


def _bind_pipeline(
    plan: BuildPlan,
    settings: CommitSettings,
    *,
    beam_options: PipelineOptions,
    ticks: str | None,
) -> Callable[[beam.Pipeline], None]:
    """Bind the arguments of `define_pipeline`."""
    options = plan.options
    num_processes = 1
    if engine.has_one_process(beam_options):
        num_processes = count_processes(
            min(options.threads, num_cores()), len(plan.shards), settings.num_chosen
        )
    shard_settings = ShardSettings(
        root=settings.root,
        work=settings.work,
        plan_folder=f"{settings.work}/plan",
        roots=plan.inventory.roots,
        versions=plan.inventory.versions,
        name=settings.name,
        formats=options.formats,
        folders=plan.table.folders,
        images=options.images,
        num_threads=-(-options.threads // num_processes),
        ticks=ticks,
    )
    return functools.partial(
        define_pipeline,
        shards=[planned.shard for planned in plan.shards],
        shard_settings=shard_settings,
        commit_settings=settings,
        num_processes=num_processes,
    )


def describe_job(request: Request, plan: BuildPlan) -> str:
    """Print the job that --dry_run would submit; return the target directory."""
    place = output.find_place(plan.options)
    settings = _make_commit_settings(plan, place)
    beam_options = request.beam_options
    define = _bind_pipeline(plan, settings, beam_options=beam_options, ticks=None)
    job = engine.make_job(define, beam_options)
    steps = job.components.transforms
    names = [
        steps[name].unique_name
        for root in job.root_transform_ids
        for name in steps[root].subtransforms
    ]
    runner = beam_options.view_as(StandardOptions).runner
    sys.stderr.write(
        f"{describe_plan(settings)}\n"
        f"would be written to {settings.target} by {runner}: {' → '.join(names)}, "
        f"{len(plan.shards)} shards, a job of {job.ByteSize() / 1e6:.2f} MB; nothing "
        "was written or submitted\n"
    )
    return place.target
