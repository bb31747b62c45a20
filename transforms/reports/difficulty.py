"""Show a table of difficulty scores as an HTML page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import charts
from transforms.charts import Series
from transforms.difficulty.table import AXIS_LABEL, NUM_BINS
from transforms.reports.page import Chart, Page, make_stem, render

_MAX_CLASSES = 20
_MAX_IMAGES = 12


def make_page(table: pa.Table, *, source: str, notes: Sequence[str] = ()) -> Page:
    """Create the page of a table of difficulty scores.

    Args:
      table: table with the schema `difficulty.table.SCHEMA`.
      source: a sentence on the origin of the scores.
      notes: limitations of the scores.
    """
    p_correct = table["p_correct"].to_numpy()
    counts = _count_percents(table)
    drawn = [draw_difficulty([Series("images", counts)], title="All images")]
    folds = [fold for fold in pc.unique(table["fold"]).to_pylist() if fold]
    for fold in sorted(folds):
        rows = table.filter(pc.equal(table["fold"], fold))
        series = [Series("images", _count_percents(rows))]
        drawn.append(
            draw_difficulty(
                series, title=f"Fold {fold}", name=make_stem("difficulty", fold)
            )
        )
    context = {
        "title": "Difficulty of images",
        "source": source,
        "notes": notes,
        "facts": [
            ("images", f"{len(table):,}"),
            ("mean probability of the correct label", f"{p_correct.mean():.3f}"),
            ("below 0.5", f"{(p_correct < 0.5).mean():.1%}"),
            ("largest bin", f"{max(counts):,}"),
        ],
        "charts": drawn,
        "classes": _list_classes(table),
        "images": _list_images(table),
    }
    return render("difficulty.html.j2", context, drawn)


def draw_difficulty(
    series: Sequence[Series], *, title: str, name: str = "difficulty"
) -> Chart:
    """Draw a histogram of images by difficulty.

    Args:
      series: one or two, each with 101 counts of images, for 0 % to 100 %.
      title: title of the chart.
      name: stem of the chart's file names.
    """
    figure = charts.draw_histogram(
        series, label=f"{title} by difficulty", x_label=AXIS_LABEL, unit=" %"
    )
    return Chart(name=name, title=title, figure=figure)


def _count_percents(table: pa.Table) -> list[int]:
    """Return the number of images at each percentage from 0 to 100."""
    counts: list[int] = np.bincount(
        table["percent"].to_numpy(), minlength=NUM_BINS
    ).tolist()
    return counts


def _list_images(table: pa.Table) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (heading, rows) of the hardest and the easiest images, up to 12 each."""
    columns = table.select(["key", "wnid", "p_correct"])
    shown = min(_MAX_IMAGES, len(columns) // 2 or 1)
    lists = []
    for heading, way in (("Hardest", "ascending"), ("Easiest", "descending")):
        order = [("p_correct", way), ("key", "ascending")]
        rows = columns.sort_by(order).slice(0, shown).to_pylist()
        lists.append((f"{heading} images", rows))
    return lists


def _list_classes(table: pa.Table) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (heading, rows) of the hardest and the easiest classes, up to 20 each.

    Return [] if the classes of the images are unknown.
    """
    named = table.filter(pc.not_equal(table["wnid"], ""))
    if not len(named):
        return []
    means = named.group_by("wnid").aggregate([
        ("p_correct", "mean"),
        ("p_correct", "count"),
    ])
    order = [("p_correct_mean", "ascending"), ("wnid", "ascending")]
    rows = means.sort_by(order).to_pylist()
    shown = min(_MAX_CLASSES, len(rows) // 2 or 1)
    return [
        ("Hardest classes", rows[:shown]),
        ("Easiest classes", rows[::-1][:shown]),
    ]
