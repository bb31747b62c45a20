"""A build's options → its dataset: plan it, see what lies there, write its shards."""

import functools
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import engine
from pipelines.building import (
    finding,
    holding,
    output,
    plan_page,
    planning,
    summary,
)
from pipelines.building.options import BuildOptions
from pipelines.building.planning import BuildPlan, Request
from transforms import paths, progress, storage
from transforms.commit import CommitDataset, CommitSettings, remove_work
from transforms.processes.cores import num_cores
from transforms.records import JobError, Shard
from transforms.shards.maker import ShardSettings
from transforms.shards.writing import count_processes
from transforms.tables import groups, statistics
from transforms.write import WriteShards


def build(request: Request) -> str:
    """Build a subset; returns the dataset's directory, or the plan's.

    Raises:
      UsageError: what the user must mend, all that is found before images are read.
      JobError: what went wrong later.
    """
    options = request.options
    finding.check_reach(options, request.beam_flags)
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
            sys.stderr.write(summary.describe_plan(settings) + "\n")
            return _write_plan(made, place, settings, scratch)
        output.make_folder(place.folder)
        is_done = output.is_finished(place, made.plan_id) or _write_dataset(
            request, made, place=place, settings=settings, ticks=f"{scratch}/ticks"
        )
    if is_done:
        told = summary.describe_dataset(place.target)
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
        page=plan_page.make_plan_page(made, place),
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
    with holding.prepare(
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
        f"{summary.describe_plan(settings)}\n"
        f"would be written to {settings.target} by {runner}: {' → '.join(names)}, "
        f"{len(made.shards)} shards, a job of {job.ByteSize() / 1e6:.2f} MB; nothing "
        "was written or submitted\n"
    )
