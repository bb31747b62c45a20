"""Describe a grouping: quality figures, groups.json and the facts of its page."""

from collections.abc import Mapping, Sequence
from typing import Any

from transforms import grouping
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Captured
from transforms.grouping.table import LEFT_OUT, Grouping, GroupTable
from transforms.labels import wordnet
from transforms.labels.wordnet import GroupNamer
from transforms.pages.groups import measure_sizes


def measure_captured(table: GroupTable, confusion: str | None) -> Captured | None:
    """Measure the share of confusion errors that stay within groups.

    Raises:
      UsageError: the matrix lacks classes of the groups.
    """
    if confusion is None:
        return None
    matrix = confusion_matrix.read_confusion_rates(confusion)
    wnids = sorted(table.label_of)
    labels = [table.label_of[wnid] for wnid in wnids]
    return confusion_matrix.capture(matrix.select(wnids, source=confusion), labels)


def find_paths(table: GroupTable, method: str | None) -> dict[int, tuple[str, ...]]:
    """Return each group's WordNet path, for methods that group by WordNet."""
    if method is None or not grouping.has_wordnet_paths(method):
        return {}
    tree, word_of = wordnet.grow_tree(row.wnid for row in table.rows)
    namer = GroupNamer(tree, word_of)
    return {
        label: tuple(namer.name_path(tree.lowest_common_ancestor(table.wnids(label))))
        for label in range(table.num_groups)
    }


def describe_facts(captured: Captured | None) -> list[tuple[str, object]]:
    """Return the confusion figures for the tiles of the page."""
    if captured is None:
        return []
    return [
        ("captured confusion", f"{captured.share:.1%}"),
        ("groups that capture nothing", captured.num_empty),
    ]


def describe_groups(
    table: GroupTable,
    result: Grouping,
    *,
    method: str | None,
    method_options: object,
    captured: Captured | None,
) -> dict[str, Any]:
    """Return the content of groups.json.

    Args:
      table: the group of every class.
      result: assignment, notes and quality figures of the method.
      method: name of the grouping method.
      method_options: options of the method.
      captured: captured confusion; None without a confusion matrix.
    """
    rates: Sequence[float | None] = captured.rates if captured else ()
    return {
        "grouping": method,
        "grouping_options": dict(vars(method_options)),
        "sizes": measure_sizes(table),
        "captured": captured.to_json() if captured else None,
        "quality": result.quality,
        "notes": list(result.notes),
        "groups": [
            {
                "label": label,
                "name": name,
                "wnids": list(table.wnids(label)),
                **({"rate": round(rates[label] or 0, 6)} if rates else {}),
            }
            for label, name in enumerate(table.names)
        ],
        "left_out": [row.wnid for row in table.rows if row.group == LEFT_OUT],
    }


def describe_quality(captured: Captured | None) -> Mapping[str, Any] | None:
    """Return the per-group figures of the page."""
    return {"group_shares": captured.shares} if captured else None
