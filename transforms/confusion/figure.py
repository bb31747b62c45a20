"""List the most confused class pairs of a matrix, and draw the matrix as a heat map."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from transforms import csv_tables, figures
from transforms.arrays import FloatArray
from transforms.confusion.matrix import Confusion, find_rates
from transforms.labels.classes import display_name
from transforms.records import list_names

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120  # of confusion.png
_MAX_PAIRS = 1_000
_NUM_LISTED = 30
_NUM_TICKS = 20
_MAX_CELLS = 350  # along a side
_MIN_SHARE = 1e-3  # smaller shares, as in soft predictions, are left white
_SHORT_SCALE = 0.01  # scales that start above it are also labelled at 2 and 5
_MAX_NAME = 20
_MAX_NAMED = 120  # with more classes, only some are named
_MAX_WRITTEN = 20  # with more classes, cells show no numbers
_SIZE = (1224, 792)  # points
_MAP_STYLE = {
    "axes__grid": False,
    "axes__spines__left": True,
    "axes__spines__right": True,
    "axes__spines__top": True,
    "ytick__major__size": 3.5,
}
_WIDE = (0.115, 0.065, 0.5565, 0.86)  # the square map
_NAMED = (0.14, 0.175, 0.4853, 0.75)  # with room for names below
# Not from the palette: a heat map needs a white background in dark pages, too.
_INK, _PAPER, _FAINT, _BAR = "#262626", "#fffffe", "#6f6f6f", "#d97706"
_HEAT = ("#f7c873", "#ef8a3c", "#d1433f", "#8c1d5b", "#3b0f4f", "#140b2b")


class Pair(NamedTuple):
    """Two classes that are confused with each other: a row of confusion.csv."""

    wnid_a: str
    name_a: str
    wnid_b: str
    name_b: str
    rate: float  # P(a, b)
    num_images: float  # both ways


def find_pairs(confusion: Confusion, most: int = _MAX_PAIRS) -> list[Pair]:
    """List the pairs of classes with the highest confusion rates, highest first.

    Pairs with equal rates are in the order of the matrix. Pairs with a rate of 0 are
    left out.

    Args:
      confusion: the confusion matrix.
      most: maximum number of pairs.
    """
    rates = np.triu(find_rates(confusion))
    both = confusion.matrix + confusion.matrix.T
    ones, others = np.nonzero(rates)
    order = np.lexsort((others, ones, -rates[ones, others]))[:most]
    pairs = []
    for one, other in zip(ones[order].tolist(), others[order].tolist(), strict=True):
        a, b = confusion.wnids[one], confusion.wnids[other]
        rate, num_images = float(rates[one, other]), float(both[one, other])
        pairs.append(Pair(a, display_name(a), b, display_name(b), rate, num_images))
    return pairs


def to_csv(pairs: list[Pair]) -> bytes:
    """Serialise class pairs, with a header, to the content of confusion.csv."""
    return csv_tables.to_csv(
        (*Pair._fields[:5], "count"),
        ((*pair[:4], f"{pair.rate:.6g}", f"{pair.num_images:.6g}") for pair in pairs),
    )


def draw(confusion: Confusion, pairs: list[Pair], scope: str = "") -> "Figure":
    """Draw the matrix as a heat map, next to a list of the most confused class pairs.

    Args:
      confusion: the confusion matrix.
      pairs: result of `find_pairs`; only the first 30 are listed.
      scope: the classes that predictions are limited to, for the title; "" for none.
    """
    title = _describe(confusion)
    is_named = len(confusion.wnids) <= _MAX_NAMED
    with figures.style(**_MAP_STYLE):
        figure = figures.make_figure(*_SIZE, label=f"{title} {scope}".strip())
        figure.set_facecolor(_PAPER)
        axes = figure.add_axes(_NAMED if is_named else _WIDE)
        _draw_map(axes, confusion)
        title = f"{title}\n{scope}".strip()
        axes.set_title(title, fontsize=12, color=_INK, loc="left", pad=12)
        _draw_pairs(figure.add_axes((0.755, 0.065, 0.23, 0.86)), pairs[:_NUM_LISTED])
    return figure


def _draw_map(axes: "Axes", confusion: Confusion) -> None:
    """Draw the heat map on a log scale; each row is divided by its number of images."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.ticker import LogLocator, NullFormatter

    num_images = np.maximum(confusion.num_images, 1)
    shares = confusion.matrix / num_images[:, None]
    width = max(1, round(len(shares) / _MAX_CELLS))  # else cells are too small to see
    least = max(_MIN_SHARE, 1 / (2 * int(num_images.max())))
    image = axes.imshow(
        np.ma.masked_less(ndimage.maximum_filter(shares, width), least),
        norm=LogNorm(least, 1),
        cmap=LinearSegmentedColormap.from_list("heat", _HEAT),
        interpolation="nearest",
    )
    if len(shares) <= _MAX_NAMED:
        _name_all(axes, confusion)
    else:
        _name_some(axes, confusion)
    if len(shares) <= _MAX_WRITTEN:
        _write_shares(axes, shares, least)
    axes.tick_params(color=_FAINT)
    large = f", each cell drawn {width} × {width} classes large" if width > 1 else ""
    axes.set_xlabel(f"predicted class{large}", fontsize=10, color=_FAINT)
    for side in axes.spines.values():
        side.set_color(_FAINT)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.02, 1)))
    bar.set_label("share of the true class's images", fontsize=10, color=_FAINT)
    if least > _SHORT_SCALE:  # else the scale has too few powers of ten
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter("{x:.1%}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.ax.tick_params(labelsize=9, color=_FAINT)


def _name_all(axes: "Axes", confusion: Confusion) -> None:
    """Label every row and column with its class name, in the largest font that fits."""
    names = [_shorten(display_name(wnid)) for wnid in confusion.wnids]
    size = min(9.0, 0.95 * 72 * 11 * _NAMED[3] / len(names))  # 11 inches high
    numbers = range(len(names))
    axes.set_xticks(numbers, names, fontsize=size, color=_INK, rotation=90)
    axes.set_yticks(numbers, names, fontsize=size, color=_INK)


def _name_some(axes: "Axes", confusion: Confusion) -> None:
    """Label about 20 evenly spaced rows (name and index) and columns (index)."""
    size = len(confusion.wnids)
    numbers = range(0, size, max(1, size // _NUM_TICKS))
    names = [_shorten(display_name(confusion.wnids[number])) for number in numbers]
    axes.set_xticks(numbers, [str(n) for n in numbers], fontsize=9, color=_INK)
    axes.set_yticks(
        numbers,
        [f"{name}  {n}" for n, name in zip(numbers, names, strict=True)],
        fontsize=9,
        color=_INK,
    )


def _write_shares(axes: "Axes", shares: FloatArray, least: float) -> None:
    """Write the share into every cell where it is at least `least`.

    `shares` has shape (classes, classes).
    """
    dark = least**0.6  # the reds of the scale, which is logarithmic
    for (row, column), share in np.ndenumerate(shares):
        if share >= least:
            axes.text(
                column,
                row,
                f"{share:.0%}" if share >= 0.01 else f"{share:.1%}",
                fontsize=9,
                color=_PAPER if share > dark else _INK,
                ha="center",
                va="center",
            )


def _describe(confusion: Confusion) -> str:
    models = list_names(confusion.models, 3) or "unknown model"
    is_soft = bool((confusion.matrix != np.rint(confusion.matrix)).any())
    what = "of the probability goes to" if is_soft else "of images go to"
    if not is_soft and confusion.matrix.sum() < confusion.num_images.sum():
        what = "of images with usable predictions go to"
    return f"Confusion of {models}: {confusion.error_rate:.1%} {what} another class"


def _draw_pairs(axes: "Axes", pairs: list[Pair]) -> None:
    """List class pairs by name, each with its rate and a bar proportional to it."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(_NUM_LISTED - 0.2, -0.8)
    axes.set_title(
        "Most confused pairs of classes", fontsize=12, color=_INK, loc="left", pad=12
    )
    most = pairs[0].rate if pairs else 1.0
    for place, pair in enumerate(pairs):
        text = f"{_shorten(pair.name_a)}  ↔  {_shorten(pair.name_b)}"
        axes.text(0, place, text, fontsize=9.5, color=_INK, va="center")
        axes.text(
            1,
            place,
            f"{pair.rate:.0%}",
            fontsize=9.5,
            color=_INK,
            ha="right",
            va="center",
        )
        axes.barh(place + 0.42, pair.rate / most, height=0.1, color=_BAR)


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
