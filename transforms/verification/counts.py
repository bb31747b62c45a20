"""Manifest, failures and groups → counts ↔ statistics.json, in which they add up."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.images.settings import is_smaller_than_asked
from transforms.verification.opened import OpenedDataset
from transforms.verification.rows import Problems

_BY_SPLIT = ("found", "unusable", "chosen", "failed", "written")

Counts = Mapping[str, Mapping[str, int]]  # wnid → split → images


def check_counts(dataset: OpenedDataset) -> Problems:
    """Count again, by class: found = chosen + left out, chosen = written + failed.

    How many images the input held is known from statistics.json alone; that it is
    what was chosen and left out together is seen.
    """
    statistics = dataset.statistics
    written = _count(dataset.rows("wnid", "split"))
    failed = _count((failure.wnid, failure.split) for failure in dataset.failures)
    listed = [entry["wnid"] for entry in statistics["classes"]]
    if listed != [row.wnid for row in dataset.table.rows]:
        yield "the classes are not those of groups.csv"
    for entry in statistics["classes"]:
        yield from _check_class(dataset, entry, written=written, failed=failed)
    for wnid in sorted({*written, *failed} - set(listed)):
        yield f"{wnid} has images and is not listed"
    yield from _check_sums(dataset)
    yield from _check_oddities(dataset)
    yield from _check_difficulty(dataset)
    totals = statistics["totals"]
    return ", ".join(f"{totals[name]} {name.replace('_', ' ')}" for name in totals)


def _count(pairs: Iterator[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (wnid, split), count in Counter(pairs).items():
        counts.setdefault(wnid, {})[split] = count
    return counts


def _check_class(
    dataset: OpenedDataset, entry: Mapping[str, Any], *, written: Counts, failed: Counts
) -> Iterator[str]:
    wnid = entry["wnid"]
    own, lost = written.get(wnid, {}), failed.get(wnid, {})
    chosen = {s: own.get(s, 0) + lost.get(s, 0) for s in {*own, *lost}}
    expected = {
        "label": dataset.table.label_of.get(wnid),
        "failed": lost,
        "chosen": chosen,
        "written": {split: own.get(split, 0) for split in chosen},
        "left_out": sum(entry["found"].values()) - sum(chosen.values()),
    }
    for name, value in expected.items():
        if entry[name] != value:
            yield f"{wnid}: {name} is {entry[name]}, counted {value}"
    if entry["left_out"] < 0 or min(entry["found"].values(), default=0) < 0:
        yield f"{wnid}: more images are chosen than found"


def _check_sums(dataset: OpenedDataset) -> Iterator[str]:
    statistics = dataset.statistics
    totals = {
        name: sum(sum(entry[name].values()) for entry in statistics["classes"])
        for name in _BY_SPLIT
    }
    totals["left_out"] = sum(entry["left_out"] for entry in statistics["classes"])
    if statistics["totals"] != totals:
        yield f"totals are {statistics['totals']}, counted {totals}"
    written = Counter(dataset.rows("label", "split"))
    groups = [
        {
            "label": label,
            "name": name,
            "written": {split: written[label, split] for split in dataset.splits},
        }
        for label, name in enumerate(dataset.table.names)
    ]
    if len(groups) != len(statistics["groups"]):
        yield f"{len(statistics['groups'])} groups, counted {len(groups)}"
    for found, group in zip(statistics["groups"], groups, strict=False):
        if found != group:
            yield f"group is {found}, counted {group}"


def _check_difficulty(dataset: OpenedDataset) -> Iterator[str]:
    """See that both histograms count every training image once."""
    told = dataset.statistics.get("difficulty")
    if (told is not None) != (dataset.recipe.get("difficulty_sha256") is not None):
        yield "difficulty is in one of statistics.json and recipe.json only"
    in_groups = [e for e in dataset.statistics["classes"] if e["label"] is not None]
    expected = {
        "available": sum(entry["found"].get("train", 0) for entry in in_groups),
        "chosen": sum(
            count
            for split, count in dataset.num_chosen.items()
            if split != "validation"
        ),
    }
    if told is None:
        return
    for name, count in expected.items():
        found = sum(told[name]["images_by_percent"]) + told[name]["without_score"]
        if found != count:
            yield f"difficulty of {found} {name} images, counted {count}"


def _check_oddities(dataset: OpenedDataset) -> Iterator[str]:
    settings = dataset.image_settings
    smaller = sum(
        is_smaller_than_asked(width, height, settings)
        for width, height in dataset.rows("width", "height")
    )
    oddities = dataset.statistics["oddities"]
    if (found := oddities.get("smaller_than_asked", 0)) != smaller:
        yield f"smaller_than_asked is {found}, counted {smaller}"
    for name, count in oddities.items():
        if not 0 < count <= dataset.num_images:
            yield f"{count} images are {name}, of {dataset.num_images}"
