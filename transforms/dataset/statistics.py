"""Compute statistics.json: found, selected, failed and written images, by class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transforms.dataset.manifest import Part
from transforms.grouping.table import GroupTable
from transforms.index.inventory import Inventory
from transforms.records import Failure

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
    """Compute the statistics of a plan, or of a dataset with its failures.

    Every image of the input is unusable, chosen or left out; every chosen image is
    written or failed. For each class, found = chosen + left_out and
    written = chosen - failed.

    Args:
      table: the groups of all classes.
      found: usable images, by split and wnid.
      bad: unusable images, by split and wnid.
      chosen: selected images, by split and wnid.
      failures: selected images that could not be written.
      difficulty: histograms of difficulty, if it is known.
    """
    failed: dict[str, Counter[str]] = {split: Counter() for split in chosen}
    for failure in failures:
        failed[failure.split][failure.wnid] += 1
    wnids = sorted({w for counts in (found, bad) for c in counts.values() for w in c})
    classes = [
        _describe_class(
            wnid, table=table, found=found, bad=bad, chosen=chosen, failed=failed
        )
        for wnid in wnids
    ]
    described = {} if difficulty is None else {"difficulty": dict(difficulty)}
    return described | {
        "totals": _total(classes),
        "groups": [
            {
                "label": label,
                "name": name,
                "written": {
                    split: sum(
                        c["written"].get(split, 0)
                        for c in classes
                        if c["label"] == label
                    )
                    for split in chosen
                },
            }
            for label, name in enumerate(table.names)
        ],
        "classes": classes,
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
        "left_out": sum(of_found.values()) - sum(of_chosen.values()),
        "failed": of_failed,
        "written": {s: n - of_failed.get(s, 0) for s, n in of_chosen.items()},
    }


def _total(classes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    def add(name: str) -> int:
        return sum(sum(c[name].values()) for c in classes)

    names = ("found", "unusable", "chosen", "failed", "written")
    totals = {name: add(name) for name in names}
    return totals | {"left_out": sum(c["left_out"] for c in classes)}


def count_conversions(parts: Sequence[Part]) -> dict[str, int]:
    """Sum the image conversions of all shards."""
    counter: Counter[str] = Counter()
    for part in parts:
        counter.update(part.oddities)
    return dict(sorted(counter.items()))
