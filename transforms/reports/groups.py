"""Describe groups before the build: quality measures, groups.json and an HTML page."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms import charts, grouping
from transforms.charts import Point, Series
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Captured
from transforms.grouping.table import (
    CONFUSION_MODELS,
    LEFT_OUT,
    Grouping,
    GroupTable,
)
from transforms.labels import wordnet
from transforms.labels.wordnet import GroupNamer
from transforms.records import UsageError, list_names
from transforms.reports.difficulty import draw_difficulty
from transforms.reports.page import Chart, Page, render

_MAX_DOTS = 60
_LEAST_DIFFERENCE = 0.05  # of shares, for bars to be drawn
_MAX_CHARACTERS = 26
_COUNT = re.compile(r" \(?\+\d+( more\))?$")  # of further kinds, at a name's end
_NUM_ENDS = 20  # groups shown at each end of more than `_MAX_DOTS`


class MeasuredConfusion(NamedTuple):
    """The confusion inside groups, measured on one confusion matrix.

    Attributes:
      captured: the captured confusion.
      models: names of the models; empty if unknown.
      is_held_out: whether the groups do not depend on this matrix.
    """

    captured: Captured
    models: tuple[str, ...]
    is_held_out: bool

    @property
    def column(self) -> str:
        """Heading of the column of the groups' shares."""
        return f"captured confusion, {'' if self.is_held_out else 'not '}held out"


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
      confusions: the confusion inside groups by each matrix, held-out ones first.
      brief_names: a short name of each group, by label; () shows those of the table.
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
    confusions: Sequence[MeasuredConfusion] = ()
    brief_names: Sequence[str] = ()
    paths: Mapping[int, tuple[str, ...]] | None = None
    contact_sheet: bytes | None = None
    difficulty: Sequence[Series] = ()
    power: Sequence[tuple[str, str]] = ()


def make_page(page: GroupsPage) -> Page:
    """Render the page of groups."""
    table = page.table
    has_images = any(count.num_train is not None for count in page.counts)
    most = max((count.num_free or 0 for count in page.counts), default=0)
    columns = ["label#", "group", "classes#"]
    uses = [_describe_use(count, most) for count in page.counts]
    used_shares = [use["used_share"] for use in uses]
    has_bars = max(used_shares) - min(used_shares) > _LEAST_DIFFERENCE
    if has_images:
        columns += ["found#", "set aside#", "chosen" if has_bars else "chosen#"]
        columns += ["validation#"]
    columns += [f"{measured.column}#" for measured in page.confusions]
    names = page.brief_names or table.names
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
                "name": names[label],
                "full_name": table.names[label],
                "rows": [row for row in table.rows if row.group == label],
                "counts": count,
                **uses[label],
                "captured": [m.captured.shares[label] for m in page.confusions],
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
    for measured in page.confusions:
        captured = measured.captured
        label = f"{measured.column} (by chance {captured.chance:.1%})"
        facts.append((label, f"{captured.share:.1%}"))
    if page.confusions:
        num_empty = page.confusions[0].captured.num_empty
        facts.append(("groups that capture nothing", num_empty))
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
    if page.confusions and max(page.confusions[0].captured.sizes) > 1:
        names = page.brief_names or page.table.names
        drawn.append(_draw_captured(names, page.confusions[0]))
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


def _draw_captured(names: Sequence[str], measured: MeasuredConfusion) -> Chart:
    """Draw the captured share of each group and the share expected by chance.

    Groups of a single class, which capture nothing, are omitted.
    """
    captured = measured.captured
    order = [label for label, size in enumerate(captured.sizes) if size > 1]
    order.sort(key=lambda label: -captured.shares[label])
    title = "Captured confusion by group"
    if len(order) > _MAX_DOTS:
        title += f": the {_NUM_ENDS} best and worst of {len(order)}"
        order = [*order[:_NUM_ENDS], *order[-_NUM_ENDS:]]
    num_others = sum(captured.sizes) - 1
    figure = charts.draw_intervals(
        [
            Point(
                f"{label} · {_fit(names[label])}",
                captured.shares[label],
                0,
                limit=(captured.sizes[label] - 1) / max(num_others, 1),
            )
            for label in order
        ],
        label="Captured confusion of each group, and that by chance",
        x_label="captured share of errors",
    )
    models = list_names(measured.models) or "unknown models"
    made = "do not depend on" if measured.is_held_out else "are made from"
    note = (
        f"Dots show the share of the errors of {models} that stay within a group; the "
        f"groups {made} these errors. Upright marks show what a random group of this "
        "size captures."
    )
    return Chart(name="captured", title=title, note=note, figure=figure)


def _fit(name: str) -> str:
    """Shorten a name for the axis of a chart to its first part and its count."""
    first, _, rest = name.partition(", ")
    if not rest or len(name) <= _MAX_CHARACTERS:
        return name
    count = _COUNT.search(rest)
    return f"{first} …{count[0] if count else ''}"


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


def measure_confusions(
    table: GroupTable,
    quality: Mapping[str, object],
    *,
    confusion: str | None,
    heldout: str | None,
) -> list[MeasuredConfusion]:
    """Measure the share of confusion matrices' errors that fall inside groups.

    Args:
      table: the groups.
      quality: quality measures of the grouping method, which name the models whose
        confusion determined the groups.
      confusion: path of a confusion matrix, or None.
      heldout: path of a confusion matrix that no method reads, or None.

    Returns:
      One entry per matrix; that of `confusion`, if it is given, is the last.

    Raises:
      UsageError: a matrix is invalid or lacks classes of the groups.
    """
    wnids = sorted(table.label_of)
    labels = [table.label_of[wnid] for wnid in wnids]
    is_read = CONFUSION_MODELS in quality
    measured = []
    for path, is_held_out in ((heldout, True), (confusion, not is_read)):
        if path is not None:
            matrix = confusion_matrix.read_confusion(path).select(wnids, source=path)
            captured = confusion_matrix.capture(matrix, labels)
            measured.append(MeasuredConfusion(captured, matrix.models, is_held_out))
    return measured


def name_briefly(table: GroupTable, method: str | None) -> tuple[str, ...]:
    """Name each group by its commonest kinds in WordNet, by label.

    Groups keep the names of the table if people gave them, or if WordNet lacks classes.
    """
    if method is not None and grouping.has_given_names(method):
        return table.names
    try:
        tree, word_of = wordnet.grow_tree(row.wnid for row in table.rows)
    except UsageError:
        return table.names
    namer = GroupNamer(tree, word_of)
    labels = range(table.num_groups)
    return tuple(namer.name_briefly(table.wnids(label)) for label in labels)


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
