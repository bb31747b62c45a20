"""A build's plan → the page that a person reads before hours are spent."""

from pipelines import group_report
from pipelines.building.output import Place, read_committed
from pipelines.building.planning import BuildPlan
from transforms import paths, storage
from transforms.pages.groups import GroupCounts, GroupsPage, make_page
from transforms.pages.histogram import Series
from transforms.scoring import power


def make_plan_page(made: BuildPlan, place: Place) -> bytes:
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
            *group_report.describe_facts(captured),
        ],
        notes=made.recipe["grouping_notes"],
        quality=group_report.describe_quality(captured),
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
    return power.describe_power(num_validation, num_groups) if num_validation else []


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
