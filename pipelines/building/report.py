"""Describe plans and datasets: summaries, the page of a plan, the text of a dry run."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines import store_flags
from pipelines.building import output
from pipelines.building.output import Place, read_committed
from pipelines.building.planning import BuildPlan
from transforms import formats, storage
from transforms.charts import Series
from transforms.dataset import paths, statistics
from transforms.dataset import shards as dataset_shards
from transforms.dataset.commit import CommitSettings
from transforms.evaluation import significance
from transforms.grouping import table as groups
from transforms.records import describe_bytes
from transforms.reports import groups as group_report
from transforms.reports.groups import GroupCounts, GroupsPage, make_page
from transforms.reports.page import Page

if TYPE_CHECKING:
    from apache_beam.portability.api import beam_runner_api_pb2


def describe_plan(settings: CommitSettings) -> str:
    """Summarise a plan: image counts, groups, subset id and warnings."""
    planned = describe_selection(settings)
    lines = [f"plan of {settings.name} {settings.version}"]
    lines += [
        f"  {split}: {sum(counts.values())} images of {len(counts)} classes"
        for split, counts in settings.chosen.items()
    ]
    lines += [f"  {line}" for line in statistics.describe_splits(planned)]
    lines.append(f"  {settings.table.num_groups} groups, subset {settings.subset_id}")
    return "\n".join([*lines, *find_warnings(planned, settings.recipe)])


def describe_selection(settings: CommitSettings) -> dict[str, Any]:
    """Compute the statistics of the images that a plan selects."""
    return statistics.describe(
        table=settings.table,
        found=settings.found,
        bad=settings.bad,
        chosen=settings.chosen,
        failures=(),
        difficulty=settings.difficulty,
    )


def find_warnings(planned: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[str]:
    """Return a warning if training images are held out for validation, else []."""
    warning = statistics.find_warning(planned, recipe["min_validation_images"])
    return [warning] if warning else []


def count_images(target: str) -> dict[str, int]:
    """Return the numbers of written and of failed images of a dataset."""
    totals = json.loads(storage.read(f"{target}/{paths.STATISTICS}"))["totals"]
    return {"images": totals["written"], "failed": totals["failed"]}


def describe_dataset(target: str) -> str:
    """Summarise a dataset: counts, and how to copy, load and verify it."""
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
        *find_uneven_groups(described),
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


def find_uneven_groups(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning for each training split that failures made uneven.

    Args:
      described: contents of statistics.json.
    """
    for split in described["groups"][0]["written"]:
        planned: Counter[int] = Counter()
        for entry in described["classes"]:
            planned[entry["label"]] += entry["chosen"].get(split, 0)
        counts = [group["written"][split] for group in described["groups"]]
        is_planned_even = len({planned[g["label"]] for g in described["groups"]}) == 1
        if split != "validation" and is_planned_even and min(counts) < max(counts):
            yield (
                f"warning: unreadable images make the groups uneven: {min(counts)} to "
                f"{max(counts)} {split} images; to use only readable images, build "
                "from an index that python -m pipelines.index --inspect has written"
            )


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


def write_plan(plan: BuildPlan, scratch: str) -> str:
    """Write the plan's files and page; return their folder."""
    place = output.find_place(plan.options)
    settings = plan.commit_settings(place)
    sys.stderr.write(f"{describe_plan(settings)}\n")
    return output.write_plan(
        place,
        plan.folder,
        plan.shards,
        scratch=scratch,
        groups_csv=groups.to_csv(plan.table),
        recipe=plan.recipe,
        statistics=describe_selection(settings),
        page=make_plan_page(plan, place, settings),
    )


def make_plan_page(plan: BuildPlan, place: Place, settings: CommitSettings) -> Page:
    """Create the page of a plan: groups, images, estimated size, statistical power."""
    options, available = plan.options, plan.available
    chosen = {split: sum(counts.values()) for split, counts in plan.chosen.items()}
    planned = describe_selection(settings)
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
            ("estimated output", describe_bytes(plan.num_bytes)),
        ],
        notes=[
            *plan.inventory.describe().splitlines(),
            *plan.recipe["grouping_notes"],
            *statistics.describe_splits(planned),
            *find_warnings(planned, plan.recipe),
        ],
        confusions=group_report.measure_confusions(
            plan.table,
            plan.recipe["grouping_quality"],
            confusion=options.confusion,
            heldout=plan.heldout_confusion,
        ),
        brief_names=group_report.name_briefly(plan.table, options.grouping),
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
    """Return the contact sheet of the dataset; None if this plan is not built."""
    sheet = f"{place.target}/{paths.PREVIEW}"
    if not storage.exists(sheet) or read_committed(place.target) != plan.plan_id:
        return None
    return storage.read(sheet)


def describe_resumed(plan: BuildPlan, settings: CommitSettings) -> str:
    """Describe how many complete shards --resume keeps."""
    shards = [planned.shard for planned in plan.shards]
    work = settings.work
    kept = dataset_shards.list_resumable(
        settings.root, shards, work=work, plan_folder=f"{work}/plan"
    )
    if not kept:
        return f"--resume: no shard is complete; all {len(shards)} will be written"
    num_images = sum(part.num_images for part in kept)
    return (
        f"--resume: keeps {len(kept)} of {len(shards)} shards, with {num_images} of "
        f"{settings.num_chosen} images, if their checksums match"
    )


def describe_dry_run(
    settings: CommitSettings,
    job: "beam_runner_api_pb2.Pipeline",
    *,
    num_shards: int,
    runner: str,
) -> str:
    """Describe the job that would write a dataset: the plan, its steps and its size.

    Args:
      settings: settings of the commit.
      job: the job as its runner would receive it.
      num_shards: number of shards to write.
      runner: name of the runner.
    """
    steps = job.components.transforms
    names = [
        steps[name].unique_name
        for root in job.root_transform_ids
        for name in steps[root].subtransforms
    ]
    return (
        f"{describe_plan(settings)}\n"
        f"would be written to {settings.target} by {runner}: {' → '.join(names)}, "
        f"{num_shards} shards, a job of {job.ByteSize() / 1e6:.2f} MB; nothing "
        "was written or submitted"
    )
