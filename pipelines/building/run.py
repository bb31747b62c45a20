"""Write a planned dataset with its commit mark, on a Beam runner."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import engine
from pipelines.building import output, report
from pipelines.building.options import Request
from pipelines.building.output import Place
from pipelines.building.planning import BuildPlan
from transforms import progress, storage
from transforms.dataset import paths
from transforms.dataset.commit import CommitSettings, remove_work
from transforms.dataset.shards import ShardSettings, count_processes
from transforms.dataset.steps import CommitDataset, WriteShards
from transforms.processes import num_cores
from transforms.progress import phase
from transforms.records import JobError, Shard


def write_dataset(request: Request, plan: BuildPlan, scratch: str) -> str:
    """Write the shards, then commit the dataset; return its folder.

    If the dataset of this plan is already complete, only print its summary. If the job
    is only submitted, the dataset is complete later.

    Raises:
      UsageError: the output folder has another dataset or unrelated files.
      JobError: the job failed.
    """
    place = output.find_place(plan.options)
    output.make_folder(place.folder)
    planned = report.describe_selection(plan.commit_settings(place))
    for warning in report.find_warnings(planned, plan.recipe):
        sys.stderr.write(f"{warning}\n")
    with phase("write") as counts:
        counts["shards"] = len(plan.shards)
        is_done = output.is_finished(place, plan.plan_id) or _run_pipeline(
            request, plan, place=place, ticks=f"{scratch}/ticks"
        )
        if is_done:
            counts.update(report.count_images(place.target))
    if is_done:
        summary = report.describe_dataset(place.target)
    else:
        summary = f"the dataset is complete when {place.target}/{paths.COMPLETE} exists"
    sys.stderr.write(f"{summary}\n")
    return place.target


def _run_pipeline(
    request: Request, plan: BuildPlan, *, place: Place, ticks: str
) -> bool:
    """Run the pipeline that writes the shards and commits the dataset.

    Two jobs can build the same plan in a bucket at once. The first to finish removes
    the work files, so the other may fail; this is ignored if the dataset is complete.

    Returns:
      Whether the dataset is complete; False if the job was only submitted.
    """
    settings = plan.commit_settings(place)
    beam_options = request.beam_options
    ticks_path = None  # remote workers cannot write to a file of this machine
    if engine.is_embedded(beam_options):
        ticks_path = str(Path(ticks).absolute())
    define = _bind_pipeline(plan, settings, beam_options=beam_options, ticks=ticks_path)
    with output.acquire_output(
        place, plan.plan_id, plan.folder, resume=plan.options.resume
    ) as has_work:
        if not has_work:
            sys.stderr.write("the dataset is complete already; nothing is written\n")
            return True
        if plan.options.resume:
            sys.stderr.write(f"{report.describe_resumed(plan, settings)}\n")
        bar = progress.show(
            ticks_path, total=settings.num_chosen, what="writing", unit="image"
        )
        try:
            with bar:
                return engine.run(
                    define,
                    beam_options,
                    is_complete=lambda: storage.is_file(
                        f"{place.target}/{paths.COMPLETE}"
                    ),
                )
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
    """Return `define_pipeline` with all arguments except `root` bound."""
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
        images=options.image_settings,
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


def print_dry_run(request: Request, plan: BuildPlan) -> str:
    """Print the job that a build would run or submit; return the target folder."""
    place = output.find_place(plan.options)
    settings = plan.commit_settings(place)
    beam_options = request.beam_options
    define = _bind_pipeline(plan, settings, beam_options=beam_options, ticks=None)
    job = engine.make_job(define, beam_options)
    runner = beam_options.view_as(StandardOptions).runner
    text = report.describe_dry_run(
        settings, job, num_shards=len(plan.shards), runner=runner
    )
    sys.stderr.write(f"{text}\n")
    return place.target
