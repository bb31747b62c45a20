"""A build's options → its dataset: plan it, see what lies there, write its shards."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam

from pipelines import engine
from pipelines.building import holding, output, plan_page, planning, summary
from pipelines.building.planning import BuildPlan, Request
from transforms import progress, storage
from transforms.commit import CommitDataset, CommitSettings, remove_work
from transforms.records import JobError, Shard
from transforms.tables import groups, statistics
from transforms.write import ShardSettings, WriteShards


def build(request: Request) -> str:
    """Build a subset; returns the dataset's directory, or the plan's.

    Raises:
      UsageError: what the user must mend, all that is found before images are read.
      JobError: what went wrong later.
    """
    options = request.options
    output.make_folder(options.output)
    with storage.scratch_folder(f"{options.output}/plan", ".planning-") as scratch:
        made = planning.make_plan(request, scratch)
        place = output.Place(
            output=options.output,
            name=made.options.name or "",
            version=options.dataset_version,
        )
        settings = _settle(made, place)
        if options.plan_only:
            sys.stderr.write(summary.describe_plan(settings) + "\n")
            return _write_plan(made, place, settings, scratch)
        output.make_folder(place.folder)
        if not output.is_finished(place, made.plan_id):
            with holding.prepare(
                place, made.plan_id, made.folder, resume=options.resume
            ) as has_work:
                if has_work:
                    _write(made, place, settings, request.beam_flags, scratch)
    sys.stderr.write(summary.describe_dataset(place.target) + "\n")
    return place.target


def _write(
    made: BuildPlan,
    place: output.Place,
    settings: CommitSettings,
    beam_flags: Sequence[str],
    scratch: str,
) -> None:
    """Write the dataset, or see that another run has.

    Two runs of one plan can be at work in a bucket. The first that ends clears what the
    other still needs, but it has written every byte of what that one would write.
    """
    try:
        _write_dataset(made, settings, beam_flags, f"{scratch}/ticks")
    except (JobError, OSError):
        if not place.is_remote or not output.is_finished(place, made.plan_id):
            raise
        remove_work(settings.work)


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
) -> None:
    """Wire the plan → shards → the dataset."""
    _ = (
        root
        | "ListShards" >> beam.Create(shards)
        | WriteShards(shard_settings)
        | CommitDataset(commit_settings)
    )


def _write_dataset(
    made: BuildPlan, settings: CommitSettings, beam_flags: Sequence[str], ticks: str
) -> None:
    """Write the shards, with a progress bar, and let the dataset appear."""
    options = made.options
    shard_settings = ShardSettings(
        root=settings.root,
        work=settings.work,
        plan_folder=f"{settings.work}/plan",
        roots=made.inventory.roots,
        name=settings.name,
        formats=options.formats,
        folders=made.table.folders,
        images=options.images,
        num_threads=options.threads,
        ticks=str(Path(ticks).absolute()),
    )
    define = functools.partial(
        define_pipeline,
        shards=[planned.shard for planned in made.shards],
        shard_settings=shard_settings,
        commit_settings=settings,
    )
    with progress.show(ticks, total=settings.num_chosen, what="writing", unit="image"):
        engine.run(define, engine.make_beam_options(beam_flags))
