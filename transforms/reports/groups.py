"""Describe groups before the build: quality measures, groups.json and an HTML page."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms import charts, grouping
from transforms.charts import Point, Series
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Captured
from transforms.grouping.table import LEFT_OUT, Grouping, GroupTable
from transforms.labels import wordnet
from transforms.labels.wordnet import GroupNamer
from transforms.reports.difficulty import draw_difficulty
from transforms.reports.page import Chart, Page, render

_MAX_DOTS = 60


@dataclass(frozen=True, kw_only=True)
class GroupCounts:
    """Numbers of images of one group.

    Attributes:
      num_train: training images; None if there is no index.
      num_validation: official validation images; None if there is no index.
      num_set_aside: training images that are held out for validation.
      num_wanted: training images that the subset needs; None if it takes all.
    """

    num_train: int | None = None
    num_validation: int | None = None
    num_set_aside: int = 0
    num_wanted: int | None = None

    @property
    def num_free(self) -> int | None:
        """Number of training images not held out for validation; None if unknown."""
        return None if self.num_train is None else self.num_train - self.num_set_aside

    @property
    def is_short(self) -> bool:
        """Whether the group has fewer free training images than wanted."""
        if self.num_free is None or self.num_wanted is None:
            return False
        return self.num_free < self.num_wanted


@dataclass(frozen=True, kw_only=True)
class GroupsPage:
    """Content of the page of groups.

    Attributes:
      title: title of the page.
      method: description of the grouping method.
      table: the groups.
      counts: numbers of images of each group, by label.
      facts: (name, value) of additional tiles.
      notes: messages for the user.
      captured: share of the confusion that falls inside groups; None without a matrix.
      paths: names on each group's WordNet path from the root, by label.
      contact_sheet: JPEG file with sample images; None without images.
      difficulty: difficulty histograms of all and of the selected training images.
      power: (name, value) on the statistical power of the validation images.
    """

    title: str
    method: str
    table: GroupTable
    counts: Sequence[GroupCounts]
    facts: Sequence[tuple[str, object]] = ()
    notes: Sequence[str] = ()
    captured: Captured | None = None
    paths: Mapping[int, tuple[str, ...]] | None = None
    contact_sheet: bytes | None = None
    difficulty: Sequence[Series] = ()
    power: Sequence[tuple[str, str]] = ()


def make_page(page: GroupsPage) -> Page:
    """Render the page of groups."""
    table = page.table
    has_images = any(count.num_train is not None for count in page.counts)
    shares = page.captured.shares if page.captured else None
    most = max((count.num_free or 0 for count in page.counts), default=0)
    columns = ["label#", "group", "classes#"]
    uses = [_describe_use(count, most) for count in page.counts]
    has_bars = len({use["used_share"] for use in uses}) > 1
    if has_images:
        columns += ["found#", "set aside#", "chosen" if has_bars else "chosen#"]
        columns += ["validation#"]
    columns += ["captured confusion#"] * (shares is not None)
    drawn = _draw_charts(page)
    context = {
        "title": page.title,
        "page": page,
        "facts": _list_facts(page),
        "charts": drawn,
        "columns": columns,
        "has_images": has_images,
        "has_bars": has_bars,
        "groups": [
            {
                "name": table.names[label],
                "rows": [row for row in table.rows if row.group == label],
                "counts": count,
                **uses[label],
                "captured": None if shares is None else shares[label],
            }
            for label, count in enumerate(page.counts)
        ],
        "tree": _nest_paths(page.paths or {}),
        "left_out": [row for row in table.rows if row.group == LEFT_OUT],
    }
    return render("groups.html.j2", context, drawn)


def _list_facts(page: GroupsPage) -> list[tuple[str, object]]:
    sizes = measure_sizes(page.table)
    smallest, largest = sizes["smallest"], sizes["largest"]
    facts: list[tuple[str, object]] = []
    if page.captured:
        chance = page.captured.chance
        facts += [
            (
                f"captured confusion (by chance {chance:.1%})",
                f"{page.captured.share:.1%}",
            ),
            ("groups that capture nothing", page.captured.num_empty),
        ]
    return [
        *facts,
        ("groups", sizes["num_groups"]),
        ("classes in groups", sizes["num_classes"]),
        (
            "classes in a group",
            f"{smallest}" if smallest == largest else f"{smallest} to {largest}",
        ),
        ("effective number of groups", sizes["effective_num_groups"]),
        *page.facts,
    ]


def _draw_charts(page: GroupsPage) -> list[Chart]:
    """Draw captured confusion, unequal sizes and difficulty, if they are known."""
    drawn = []
    if page.captured and page.table.num_groups <= _MAX_DOTS:
        drawn.append(_draw_captured(page.table, page.captured))
    sizes = [len(page.table.wnids(label)) for label in range(page.table.num_groups)]
    first, last = min(sizes), max(sizes)
    if first < last:
        counts = [sizes.count(size) for size in range(first, last + 1)]
        figure = charts.draw_histogram(
            [Series("groups", counts)],
            label="Groups by number of classes",
            x_label="classes in a group",
            first=first,
            unit="",
        )
        title = "Sizes of groups"
        drawn.append(Chart(name="group_sizes", title=title, figure=figure))
    if page.difficulty:
        title = "Difficulty of training images, before and after selection"
        drawn.append(draw_difficulty(page.difficulty, title=title))
    return drawn


def _draw_captured(table: GroupTable, captured: Captured) -> Chart:
    """Draw the captured share of each group and the share expected by chance."""
    order = sorted(range(table.num_groups), key=lambda label: -captured.shares[label])
    num_others = sum(captured.sizes) - 1
    figure = charts.draw_intervals(
        [
            Point(
                table.names[label],
                captured.shares[label],
                0,
                limit=(captured.sizes[label] - 1) / max(num_others, 1),
            )
            for label in order
        ],
        label="Captured confusion of each group, and that by chance",
        x_label="captured share of errors",
    )
    note = "Upright marks show what a random group of this size captures."
    title = "Captured confusion by group"
    return Chart(name="captured", title=title, note=note, figure=figure)


def _describe_use(count: GroupCounts, most: int) -> dict[str, Any]:
    free, wanted = count.num_free or 0, count.num_wanted
    if wanted is None:
        return {"used": free, "used_share": free / max(most, 1)}
    return {"used": wanted, "used_share": wanted / max(free, 1)}


def _nest_paths(paths: Mapping[int, tuple[str, ...]]) -> dict[str, Any]:
    """Convert paths to nested dicts by name; key "" lists the labels at a node."""
    root: dict[str, Any] = {}
    for label, path in sorted(paths.items(), key=lambda item: item[1]):
        node = root
        for name in path:
            node = node.setdefault(name, {})
        node.setdefault("", []).append(label)
    return root


def measure_sizes(table: GroupTable) -> dict[str, float | int]:
    """Compute statistics of group sizes in classes, for groups.json.

    The effective number of groups is (Σ size)² / Σ size².
    """
    sizes = [len(table.wnids(label)) for label in range(table.num_groups)]
    return {
        "num_groups": len(sizes),
        "num_classes": sum(sizes),
        "smallest": min(sizes),
        "median": statistics.median(sizes),
        "largest": max(sizes),
        "effective_num_groups": round(sum(sizes) ** 2 / sum(s * s for s in sizes), 1),
    }


def measure_captured(table: GroupTable, confusion: str | None) -> Captured | None:
    """Measure the share of a confusion matrix's errors that fall inside groups.

    Args:
      table: the groups.
      confusion: path of the confusion matrix; None returns None.

    Raises:
      UsageError: the matrix is invalid or lacks classes of the groups.
    """
    if confusion is None:
        return None
    matrix = confusion_matrix.read_confusion(confusion)
    wnids = sorted(table.label_of)
    labels = [table.label_of[wnid] for wnid in wnids]
    return confusion_matrix.capture(matrix.select(wnids, source=confusion), labels)


def find_paths(table: GroupTable, method: str | None) -> dict[int, tuple[str, ...]]:
    """Return the WordNet path of each group by label, as names from the root.

    Empty unless the method's pages show WordNet paths.
    """
    if method is None or not grouping.has_wordnet_paths(method):
        return {}
    tree, word_of = wordnet.grow_tree(row.wnid for row in table.rows)
    namer = GroupNamer(tree, word_of)
    return {
        label: tuple(namer.name_path(tree.lowest_common_ancestor(table.wnids(label))))
        for label in range(table.num_groups)
    }


def describe_groups(
    table: GroupTable,
    result: Grouping,
    *,
    method: str | None,
    method_options: object,
    captured: Captured | None,
) -> dict[str, Any]:
    """Return the content of groups.json: sizes, quality and classes of the groups.

    Args:
      table: the groups.
      result: result of the grouping method.
      method: name of the grouping method.
      method_options: the method's `Options`, a dataclass.
      captured: share of the confusion that falls inside groups; None without a matrix.
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
