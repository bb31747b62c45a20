"""Show a table of difficulty scores as an HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import charts
from transforms.charts import Series
from transforms.difficulty.table import AXIS_LABEL, NUM_BINS
from transforms.reports.page import Chart, Page, make_stem, render

_MAX_CLASSES = 20
_MAX_IMAGES = 12
_STRIP_IMAGES = 8
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_QUANTILES = {
    0.0: "Hardest",
    0.1: "Harder than 90 % of the images",
    0.5: "Median",
    0.9: "Easier than 90 % of the images",
    1.0: "Easiest",
}


class Strip(NamedTuple):
    """Images of similar difficulty.

    Attributes:
      title: their place among all images.
      images: rows with the columns key, wnid and p_correct.
    """

    title: str
    images: list[dict[str, Any]]


def make_page(
    table: pa.Table,
    *,
    source: str,
    notes: Sequence[str] = (),
    thumbnails: Mapping[str, bytes] | None = None,
) -> Page:
    """Create the page of a table of difficulty scores.

    Args:
      table: table with the schema `difficulty.table.SCHEMA`.
      source: a sentence on the origin of the scores.
      notes: limitations of the scores.
      thumbnails: JPEG files by key, of those images of `choose_images` that could be
        read; None shows no images.
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
            ("probability below 0.5", f"{(p_correct < 0.5).mean():.1%}"),
            ("images in the largest bin of 1 %", f"{max(counts):,}"),
        ],
        "charts": drawn,
        "classes": _list_classes(table),
        "images": _list_images(table),
        "strips": [] if thumbnails is None else choose_images(table),
        "thumbnails": thumbnails,
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


def choose_images(table: pa.Table) -> list[Strip]:
    """Choose the hardest, the easiest and some other images, at most 40.

    If more images have the same difficulty than are shown, they are chosen at equal
    distances in the order of their keys.

    Args:
      table: table with the schema `difficulty.table.SCHEMA`.
    """
    order = [("p_correct", "ascending"), ("key", "ascending")]
    rows = table.select(["key", "wnid", "p_correct"]).sort_by(order)
    p_correct = rows["p_correct"].to_numpy()
    size = min(_STRIP_IMAGES, len(rows) // 2 or 1)
    has_middle = len(rows) >= size * len(_QUANTILES)
    strips = []
    for quantile, title in _QUANTILES.items():
        if 0 < quantile < 1 and not has_middle:
            continue
        value = p_correct[round(quantile * (len(rows) - 1))]
        first, last = (np.searchsorted(p_correct, value, side) for side in _SIDES)
        if last - first < size:
            first = round(quantile * (len(rows) - size))
            last = first + size
        places = np.linspace(first, last - 1, size).round().astype(int)
        strips.append(Strip(title, rows.take(places).to_pylist()))
    return strips


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
