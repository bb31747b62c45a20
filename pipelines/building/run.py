"""A dataset or plan → the few lines that its maker wants to read."""

import functools
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import engine
from pipelines.building import output, planning
from pipelines.building.options import BuildOptions
from pipelines.building.output import Place, read_committed
from pipelines.building.planning import BuildPlan, Request
from transforms import progress, storage
from transforms.charts import Series
from transforms.dataset import paths, statistics
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

_LOADERS = {
    "webdataset": """\
import glob, webdataset
shards = sorted(glob.glob("{target}/{split}/*.tar"))
images = webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb")
image, label = next(iter(images.to_tuple("jpg", "cls")))""",
    "tfrecord": """\
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory("{target}")
images = builder.as_dataset(split="{split}")
example = next(iter(images))  # example["image"], example["label"]""",
    "parquet": """\
from datasets import load_dataset
images = load_dataset("{target}/parquet", split="{split}")
image, label = images[0]["image"], images[0]["label"]""",
    "folders": """\
from keras.utils import image_dataset_from_directory
images = image_dataset_from_directory(
    "{target}/folders/{split}", image_size=(224, 224))
batch, labels = next(iter(images))""",
}

# Readers of all kinds want a folder.
_FETCH = {
    "gs": "gcloud storage cp --recursive {target} .",
    "s3": "aws s3 cp --recursive {target} ./{version}",
}


def describe_plan(settings: CommitSettings) -> str:
    """Say what a plan holds."""
    lines = [f"plan of {settings.name} {settings.version}"]
    lines += [
        f"  {split}: {sum(counts.values())} images of {len(counts)} classes"
        for split, counts in settings.chosen.items()
    ]
    lines.append(f"  {settings.table.num_groups} groups, subset {settings.subset_id}")
    return "\n".join(lines)


def describe_dataset(target: str) -> str:
    """Say what was built, where it is, and how to load it."""
    statistics = json.loads(storage.read(f"{target}/{paths.STATISTICS}"))
    recipe = json.loads(storage.read(f"{target}/{paths.RECIPE}"))
    format_name = recipe["formats"][0]
    split = next(iter(statistics["groups"][0]["written"]))
    version = recipe["dataset_version"]
    fetch = _FETCH.get(target.partition("://")[0], "")
    fetch = fetch.format(target=target, version=version)
    place = f"./{version}" if fetch else target
    loader = _LOADERS[format_name].format(target=place, split=split)
    return "\n".join([
        f"{recipe['name']} {recipe['dataset_version']}, subset "
        f"{statistics['subset_id'][:12]}",
        *_describe_splits(statistics),
        *_describe_totals(statistics),
        f"  contact sheet: {target}/{paths.PREVIEW}",
        "",
        *(["fetch it:", f"    {fetch}", ""] if fetch else []),
        "load it:",
        *(f"    {line}" for line in loader.splitlines()),
        "",
        "prove it:",
        f"    python -m pipelines.verify {target}",
    ])


def _describe_splits(statistics: Mapping[str, Any]) -> list[str]:
    groups = statistics["groups"]
    lines = []
    for split in groups[0]["written"]:
        counts = [group["written"][split] for group in groups]
        least, most = min(counts), max(counts)
        each = f"{least}" if least == most else f"{least} to {most}"
        lines.append(
            f"  {split}: {sum(counts)} images, {each} in each of {len(groups)} groups"
        )
    return lines


def _describe_totals(statistics: Mapping[str, Any]) -> list[str]:
    totals, oddities = statistics["totals"], statistics["oddities"]
    lines = [
        f"  of {totals['found']} images found, {totals['left_out']} were left out, "
        f"{totals['failed']} failed"
    ]
    if smaller := oddities.get("smaller_than_asked"):
        lines.append(f"  {smaller} images are smaller than asked; --upscale enlarges")
    mended = {name: n for name, n in oddities.items() if name != "smaller_than_asked"}
    if mended:
        shown = ", ".join(f"{n} {name}" for name, n in mended.items())
        lines.append(f"  converted or noted: {shown}")
    return lines


def make_plan_page(made: BuildPlan, place: Place) -> Page:
    """Show the groups with the images that they have and give, and what it costs."""
    options, available = made.options, made.available
    captured = group_report.measure_captured(made.table, options.confusion)
    chosen = {split: sum(counts.values()) for split, counts in made.chosen.items()}
    page = GroupsPage(
        title=f"Plan of {place.name} {place.version}",
        method=(
            f"--grouping {options.grouping}, --sampling {options.sampling}, seed "
            f"{options.seed}; subset {made.subset_id[:12]}"
        ),
        table=made.table,
        counts=[
            GroupCounts(
                num_train=available.num_train[label],
                num_validation=available.num_validation[label],
                num_set_aside=available.top_ups[label],
                num_wanted=_count_train(made, label),
            )
            for label in range(made.table.num_groups)
        ],
        facts=[
            *((f"{split} images", f"{count:,}") for split, count in chosen.items()),
            ("shards", len(made.shards)),
            ("estimated output", f"{made.num_bytes / 1e9:.2f} GB"),
        ],
        notes=made.recipe["grouping_notes"],
        captured=captured,
        paths=group_report.find_paths(made.table, options.grouping),
        contact_sheet=_find_contact_sheet(made, place),
        power=_find_power(chosen.get("validation", 0), made.table.num_groups),
        difficulty=[
            Series(f"images {name}", found["images_by_percent"])
            for name, found in (made.difficulty or {}).items()
        ],
    )
    return make_page(page)


def _find_power(num_validation: int, num_groups: int) -> list[tuple[str, str]]:
    return (
        significance.describe_power(num_validation, num_groups)
        if num_validation
        else []
    )


def _count_train(made: BuildPlan, label: int) -> int:
    """Count a group's chosen training images, folds and all."""
    wnids = made.table.wnids(label)
    return sum(
        counts.get(wnid, 0)
        for split, counts in made.chosen.items()
        if split != "validation"
        for wnid in wnids
    )


def _find_contact_sheet(made: BuildPlan, place: Place) -> bytes | None:
    """Take the pictures of the dataset, once this plan has been built."""
    sheet = f"{place.target}/{paths.PREVIEW}"
    if not storage.exists(sheet) or read_committed(place.target) != made.plan_id:
        return None
    return storage.read(sheet)


def build(request: Request) -> str:
    """Build a subset; returns the dataset's directory, or the plan's.

    Raises:
      UsageError: what the user must mend, all that is found before images are read.
      JobError: what went wrong later.
    """
    options = request.options
    planning.check_reach(options, request.beam_flags)
    if not options.dry_run:
        output.make_folder(options.output)
    with _make_scratch(options) as scratch:
        made = planning.make_plan(request, scratch)
        place = output.Place(
            output=options.output,
            name=made.options.name or "",
            version=options.dataset_version,
        )
        settings = _settle(made, place)
        if options.dry_run:
            sys.stderr.write(_describe_job(made, settings, request.beam_options))
            return place.target
        if options.plan_only:
            sys.stderr.write(describe_plan(settings) + "\n")
            return _write_plan(made, place, settings, scratch)
        output.make_folder(place.folder)
        is_done = output.is_finished(place, made.plan_id) or _write_dataset(
            request, made, place=place, settings=settings, ticks=f"{scratch}/ticks"
        )
    if is_done:
        told = describe_dataset(place.target)
    else:
        told = f"it is finished when {place.target}/{paths.COMPLETE} is there"
    sys.stderr.write(f"{told}\n")
    return place.target


def _make_scratch(options: BuildOptions) -> AbstractContextManager[str]:
    """Make a folder for the plan, beside the output unless nothing may be there."""
    if options.dry_run:
        return tempfile.TemporaryDirectory()
    return storage.scratch_folder(f"{options.output}/plan", ".planning-")


def _settle(made: BuildPlan, place: output.Place) -> CommitSettings:
    """Gather what is known of the dataset before its first image is written."""
    return CommitSettings(
        root=place.root,
        work=place.work,
        target=place.target,
        name=place.name,
        version=place.version,
        formats=made.options.formats,
        table=made.table,
        subset_id=made.subset_id,
        recipe=made.recipe,
        found=statistics.count_found(made.inventory),
        bad=statistics.count_bad(made.inventory),
        chosen=made.chosen,
        max_failure_fraction=made.options.max_failure_fraction,
        difficulty=made.difficulty,
    )


def _write_plan(
    made: BuildPlan, place: output.Place, settings: CommitSettings, scratch: str
) -> str:
    described = statistics.describe(
        table=made.table,
        found=settings.found,
        bad=settings.bad,
        chosen=settings.chosen,
        failures=(),
        difficulty=settings.difficulty,
    )
    return output.write_plan(
        place,
        made.folder,
        scratch=scratch,
        groups_csv=groups.to_csv(made.table),
        recipe=made.recipe,
        statistics=described,
        page=make_plan_page(made, place),
    )


def define_pipeline(
    root: beam.Pipeline,
    *,
    shards: Sequence[Shard],
    shard_settings: ShardSettings,
    commit_settings: CommitSettings,
    num_processes: int = 1,
) -> None:
    """Wire the plan → shards → the dataset."""
    _ = (
        root
        # Unshuffled: WriteShards spreads them over the workers.
        | "ListShards" >> beam.Create(shards, reshuffle=False)
        | WriteShards(shard_settings, num_processes)
        | CommitDataset(commit_settings)
    )


def _define(
    made: BuildPlan,
    settings: CommitSettings,
    *,
    beam_options: PipelineOptions,
    ticks: str | None,
) -> Callable[[beam.Pipeline], None]:
    """Gather what the graph is made of."""
    options = made.options
    num_processes = 1
    if engine.has_one_process(beam_options):
        num_at_once = min(options.threads, num_cores())
        num_processes = count_processes(
            num_at_once, len(made.shards), settings.num_chosen
        )
    shard_settings = ShardSettings(
        root=settings.root,
        work=settings.work,
        plan_folder=f"{settings.work}/plan",
        roots=made.inventory.roots,
        versions=made.inventory.versions,
        name=settings.name,
        formats=options.formats,
        folders=made.table.folders,
        images=options.images,
        num_threads=-(-options.threads // num_processes),
        ticks=ticks,
    )
    return functools.partial(
        define_pipeline,
        shards=[planned.shard for planned in made.shards],
        shard_settings=shard_settings,
        commit_settings=settings,
        num_processes=num_processes,
    )


def _write_dataset(
    request: Request,
    made: BuildPlan,
    *,
    place: output.Place,
    settings: CommitSettings,
    ticks: str,
) -> bool:
    """Write the shards and let the dataset appear, all of it on the engine.

    Two runs of one plan can be at work in a bucket. The first that ends clears what the
    other still needs, but it has written every byte of what that one would write.

    Returns: Whether it is done, or only submitted: nothing is left to do here then.
    """
    beam_options = request.beam_options
    shown = None  # workers elsewhere cannot write to a file of this machine
    if engine.is_embedded(beam_options):
        shown = str(Path(ticks).absolute())
    define = _define(made, settings, beam_options=beam_options, ticks=shown)
    with output.acquire_output(
        place, made.plan_id, made.folder, resume=request.options.resume
    ) as has_work:
        if not has_work:
            return True
        bar = progress.show(
            shown, total=settings.num_chosen, what="writing", unit="image"
        )
        try:
            with bar:
                return engine.run(define, beam_options)
        except (JobError, OSError):
            if not place.is_remote or not output.is_finished(place, made.plan_id):
                raise
            remove_work(settings.work)
            return True


def _describe_job(
    made: BuildPlan, settings: CommitSettings, beam_options: PipelineOptions
) -> str:
    """Say what would be submitted."""
    define = _define(made, settings, beam_options=beam_options, ticks=None)
    job = engine.make_job(define, beam_options)
    steps = job.components.transforms
    names = [
        steps[name].unique_name
        for root in job.root_transform_ids
        for name in steps[root].subtransforms
    ]
    runner = beam_options.view_as(StandardOptions).runner
    return (
        f"{describe_plan(settings)}\n"
        f"would be written to {settings.target} by {runner}: {' → '.join(names)}, "
        f"{len(made.shards)} shards, a job of {job.ByteSize() / 1e6:.2f} MB; nothing "
        "was written or submitted\n"
    )
