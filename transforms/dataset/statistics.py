"""Count found, selected, failed and written images by class, for statistics.json."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transforms.dataset.manifest import Part
from transforms.grouping.table import GroupTable
from transforms.index.inventory import Inventory
from transforms.labels import classes
from transforms.records import Failure, list_names

Counts = Mapping[str, Mapping[str, int]]  # images by split and wnid


def count_found(inventory: Inventory) -> dict[str, dict[str, int]]:
    """Count the usable images of the input, by split and wnid."""
    return _nest(inventory.num_images.items())


def count_bad(inventory: Inventory) -> dict[str, dict[str, int]]:
    """Count the images that inspection found unusable, by split and wnid."""
    return _nest(inventory.num_bad.items())


def _nest(items: Iterable[tuple[Any, int]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (wnid, split), count in sorted(items):
        nested.setdefault(split, {})[wnid] = count
    return nested


def describe(
    *,
    table: GroupTable,
    found: Counts,
    bad: Counts,
    chosen: Counts,
    failures: Sequence[Failure],
    difficulty: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute the statistics of a plan, or of a written dataset.

    For each class, found = chosen + left_out and written = chosen - failed; unusable
    images are not in found. `held_out` is the number of the class's training images
    that are used for validation.

    Args:
      table: the groups of all classes.
      found: usable images, by split and wnid.
      bad: unusable images, by split and wnid.
      chosen: selected images, by split and wnid.
      failures: selected images that could not be written.
      difficulty: histograms of difficulty; None if difficulty is unknown.
    """
    failed: dict[str, Counter[str]] = {split: Counter() for split in chosen}
    for failure in failures:
        failed[failure.split][failure.wnid] += 1
    wnids = sorted({w for counts in (found, bad) for c in counts.values() for w in c})
    entries = [
        _describe_class(
            wnid, table=table, found=found, bad=bad, chosen=chosen, failed=failed
        )
        for wnid in wnids
    ]
    described = {} if difficulty is None else {"difficulty": dict(difficulty)}
    return described | {
        "totals": _total(entries),
        "validation": describe_validation(entries),
        "groups": [
            {
                "label": label,
                "name": name,
                "written": {
                    split: sum(
                        c["written"].get(split, 0)
                        for c in entries
                        if c["label"] == label
                    )
                    for split in chosen
                },
            }
            for label, name in enumerate(table.names)
        ],
        "classes": entries,
    }


def _describe_class(
    wnid: str,
    *,
    table: GroupTable,
    found: Counts,
    bad: Counts,
    chosen: Counts,
    failed: Counts,
) -> dict[str, Any]:
    of_found = {s: c[wnid] for s, c in found.items() if c.get(wnid)}
    of_bad = {s: c[wnid] for s, c in bad.items() if c.get(wnid)}
    of_chosen = {s: c[wnid] for s, c in chosen.items() if c.get(wnid)}
    of_failed = {s: c[wnid] for s, c in failed.items() if c.get(wnid)}
    return {
        "wnid": wnid,
        "label": table.label_of.get(wnid),
        "found": of_found,
        "unusable": of_bad,
        "chosen": of_chosen,
        "held_out": _count_held_out(of_found, of_chosen),
        "left_out": sum(of_found.values()) - sum(of_chosen.values()),
        "failed": of_failed,
        "written": {s: n - of_failed.get(s, 0) for s, n in of_chosen.items()},
    }


def _count_held_out(found: Mapping[str, int], chosen: Mapping[str, int]) -> int:
    """Count the training images of a class that are held out for validation.

    Training images are used only after all official validation images of the class.
    """
    return max(chosen.get("validation", 0) - found.get("validation", 0), 0)


def describe_validation(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count official and held-out validation images, and list classes lacking a split.

    Args:
      entries: the entries of `classes` in statistics.json.

    Returns:
      The entry `validation` of statistics.json.
    """
    num_validation = sum(c["chosen"].get("validation", 0) for c in entries)
    num_held_out = sum(c["held_out"] for c in entries)
    trained = {c["wnid"] for c in entries if _count_train(c["written"])}
    validated = {c["wnid"] for c in entries if c["written"].get("validation")}
    return {
        "official": num_validation - num_held_out,
        "held_out": num_held_out,
        "trained_classes": len(trained),
        "validated_classes": len(validated),
        "untrained_wnids": sorted(validated - trained),
        "unvalidated_wnids": sorted(trained - validated),
    }


def describe_splits(statistics: Mapping[str, Any]) -> list[str]:
    """Return lines on the origin of validation images and on classes lacking a split.

    Args:
      statistics: contents of statistics.json.
    """
    described = statistics.get("validation")  # absent in datasets of version 0.1.0
    if not described or not described["validated_classes"]:
        return []
    lines = [
        f"validation images: {described['official']} official, "
        f"{described['held_out']} held out of training"
    ]
    missing = {
        "training": described["untrained_wnids"],
        "validation": described["unvalidated_wnids"],
    }
    if described["trained_classes"] and any(missing.values()):
        named = (
            f"; no {split} images: {list_names(map(_name_class, wnids))}"
            for split, wnids in missing.items()
            if wnids
        )
        lines.append(
            f"{described['trained_classes']} classes trained, "
            f"{described['validated_classes']} validated{''.join(named)}"
        )
    return lines


def _name_class(wnid: str) -> str:
    name = classes.display_name(wnid)
    return wnid if name == wnid else f"{name} ({wnid})"


def find_warning(statistics: Mapping[str, Any], min_validation_images: int) -> str:
    """Return a warning if training images are held out for validation, else "".

    Args:
      statistics: contents of statistics.json.
      min_validation_images: value of --min_validation_images.
    """
    described = statistics.get("validation", {})
    if not (num_held_out := described.get("held_out")):
        return ""
    num_official = described["official"]
    remedy = (
        f"lower it to {num_official} to validate on official images only"
        if num_official
        else "add the official validation images with --input, or set it to 0"
    )
    return (
        f"warning: {num_held_out} of {num_official + num_held_out} validation images "
        "are training images, held out to reach --min_validation_images "
        f"{min_validation_images}; {remedy}"
    )


def _count_train(counts: Mapping[str, int]) -> int:
    return sum(count for split, count in counts.items() if split != "validation")


def _total(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    def add(name: str) -> int:
        return sum(sum(c[name].values()) for c in entries)

    names = ("found", "unusable", "chosen", "failed", "written")
    totals = {name: add(name) for name in names}
    return totals | {"left_out": sum(c["left_out"] for c in entries)}


def count_conversions(parts: Sequence[Part]) -> dict[str, int]:
    """Return the number of converted images in all shards, by kind of conversion.

    Images smaller than `--image_size` are counted as "smaller_than_asked".
    """
    counter: Counter[str] = Counter()
    for part in parts:
        counter.update(part.conversions)
    return dict(sorted(counter.items()))
