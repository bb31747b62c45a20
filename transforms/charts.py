"""Draw the charts that several pages share, as matplotlib figures."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transforms import figures
from transforms.figures import CARD, INK, PALETTE, SOFT

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAMED = 24  # series or points; larger charts show names only as tooltips
_MAX_CHARACTERS = 19  # of a name
_WIDTH = 420  # points: 5.8 inches, and about the width of a figure in a page
_BAND: dict[str, Any] = {"color": SOFT, "alpha": 0.18, "linewidth": 0, "zorder": 0}
_MIN_DECADES = 1.0  # of an axis of costs, so that moved marks keep their place
_STEP = 0.026  # share of the x axis between marks of nearly equal x: a mark's width
_MAX_SPREAD = 0.5  # share of the x axis that all marks of nearly equal x may take
_MARK_HEIGHT = 0.035  # share of the range of y
_LABEL_GAP = 3  # pixels between labels
_ROW = 15.0  # height of a name, in points
_NAME: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "va": "center_baseline"}
_DASHES = ("solid", (0, (6, 3)), (0, (2, 3)), (0, (8, 3, 2, 3)))
# Positions of a label relative to its point, in points, the best first.
_POSITIONS = [(x, y) for y in (9, -9, 0, 20, -20, 31, -31) for x in (8, -8)]


class Series(NamedTuple):
    """A named sequence of values, such as accuracies by epoch (from epoch 1)."""

    name: str
    values: Sequence[float]


class Point(NamedTuple):
    """A named point of a scatter plot or dot plot.

    Attributes:
      name: tooltip, and row label in a dot plot.
      x_interval: ends of the horizontal error bar; None draws no bar.
      y_interval: ends of the vertical error bar; None draws no bar.
      color: index into the ten series colours, modulo 10; negative is grey.
      is_square: whether the marker is a square instead of a circle.
      is_hollow: whether only the marker's outline is drawn.
      labels: alternative label texts, best first; the first that fits is drawn.
      limit: x of a vertical tick in the point's row of a dot plot; None draws none.
    """

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None
    color: int = 0
    is_square: bool = False
    is_hollow: bool = False
    labels: tuple[str, ...] = ()
    limit: float | None = None


class Mark(NamedTuple):
    """An epoch to mark with a vertical line, and the line's label."""

    epoch: int
    text: str


def draw_histogram(
    series: Sequence[Series], *, label: str, x_label: str, first: int = 0, unit: str
) -> "Figure":
    """Draw a histogram over consecutive integers.

    Args:
      series: one or two; each holds the count of every integer from `first`. The
        second is drawn in front.
      label: accessible name of the figure.
      x_label: title of the x axis.
      first: the integer of the first bar.
      unit: text appended to the integers, such as " %".
    """
    with figures.style():
        axes = _make_axes(230, label)
        colors = ["bar-soft", "bar"] if len(series) > 1 else ["bar"]
        for (name, counts), color in zip(series, colors, strict=True):
            numbers = {first + n: int(c) for n, c in enumerate(counts) if c}
            bars = axes.bar(
                list(numbers),
                list(numbers.values()),
                width=1 if len(counts) > 50 else 0.85,
                color=PALETTE[color][0],
                label=f"{sum(counts):,} {name}",
            )
            for (number, count), bar in zip(numbers.items(), bars, strict=True):
                figures.set_tooltip(bar, f"{number}{unit}: {count:,} {name}")
        axes.set_xlim(first - 0.6, first + max(len(s.values) for s in series) - 0.4)
        axes.locator_params(nbins=6, integer=True)
        axes.xaxis.set_major_formatter(f"{{x:.0f}}{unit}")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(x_label)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1)
        return figures.lay_out(axes)


def draw_lines(
    series: Sequence[Series],
    *,
    label: str,
    y_label: str,
    is_share: bool = True,
    height: float = 320,
    mark: Mark | None = None,
) -> "Figure":
    """Draw one line per series against epochs.

    Args:
      series: one or more, of any lengths.
      label: accessible name of the figure.
      y_label: title of the y axis.
      is_share: whether values are shares (0 to 1), shown as percentages.
      height: minimum height of the figure, in points.
      mark: the epoch to mark; None marks none.
    """
    if len(series) <= MAX_NAMED:
        height = max(height, 80 + _ROW * len(series))
    with figures.style():
        axes = _make_axes(height, label)
        _draw_series(axes, series, mark)
        axes.set_title(y_label)
        if is_share:
            axes.yaxis.set_major_formatter(_show_percent)
        _name_ends(axes, series)
        return figures.lay_out(axes)


def draw_ranks(
    series: Sequence[Series], *, label: str, mark: Mark | None = None
) -> "Figure":
    """Draw ranks against epochs as a bump chart, with rank 1 at the top."""
    size = len(series)
    row = 20 if size <= MAX_NAMED else max(6, 20 * MAX_NAMED // size)
    with figures.style():
        axes = _make_axes(90 + row * size, label)
        _draw_series(axes, series, mark)
        axes.set_title("rank")
        axes.set_ylim(size + 0.7, 0.3)
        step = 1 if size <= MAX_NAMED else 10
        axes.set_yticks(range(step, size + 1, step))
        _name_ends(axes, series)
        return figures.lay_out(axes)


def draw_scatter(
    points: Sequence[Point],
    *,
    label: str,
    x_label: str,
    y_label: str,
    is_share: bool = True,
    x_is_cost: bool = False,
    band: tuple[float, float] | None = None,
    legend: Sequence[Point] = (),
) -> "Figure":
    """Draw points with error bars, and label those with free space around them.

    Args:
      points: one or more, the most important first: it is drawn on top and labelled
        first.
      label: accessible name of the figure.
      x_label: title of the x axis.
      y_label: title of the y axis.
      is_share: whether values are shares (0 to 1), shown as percentages.
      x_is_cost: whether x is a cost, on a logarithmic axis, and y a correlation, on an
        axis that ends at 1.
      band: ends of a shaded range of y; None shades nothing.
      legend: one point per legend entry; only its name and marker style are used.
    """
    with figures.style(axes__xmargin=0.08, axes__ymargin=0.06):
        axes = _make_axes(380 + 10 * len(legend), label)
        if x_is_cost:
            _make_logarithmic(axes, [point.x for point in points])
        size = 7 if any(point.labels for point in points) else 4
        for order, point in enumerate(reversed(points)):
            _draw_point(axes, point, markersize=size, zorder=3 + order)
        if band:
            axes.axhspan(*band, **_BAND)
        axes.set_xlabel(x_label, loc="right")
        axes.set_title(y_label)
        if is_share:
            axes.xaxis.set_major_formatter(_show_percent)
            axes.yaxis.set_major_formatter(_show_percent)
        if x_is_cost:
            _widen(axes)
            _end_at_one(axes.get_ylim, axes.set_ylim, [point.y for point in points])
        _draw_legend(axes, legend)
        return _label_points(axes, points)


def draw_intervals(
    points: Sequence[Point],
    *,
    label: str,
    x_label: str,
    band: tuple[float, float] | None = None,
    legend: Sequence[Point] = (),
) -> "Figure":
    """Draw a dot plot: one row per point with its x interval.

    Args:
      points: one or more, from top to bottom; their y is ignored.
      label: accessible name of the figure.
      x_label: title of the x axis.
      band: ends of a shaded range of x; None shades nothing.
      legend: one point per legend entry, as in `draw_scatter`.
    """
    with figures.style(axes__grid__axis="x"):
        axes = _make_axes(60 + 24 * len(points) + 10 * len(legend), label)
        if band:
            axes.axvspan(*band, **_BAND)
        for place, point in enumerate(points):
            _draw_point(axes, point._replace(y=place), markersize=7)
            if point.limit is not None:
                axes.plot([point.limit] * 2, [place - 0.36, place + 0.36], color=INK)
        names = shorten_all([point.name for point in points], 32)
        axes.set_yticks(range(len(points)), names, color=INK)
        axes.set_ylim(len(points) - 0.5, -0.5)
        axes.set_xlabel(x_label)
        _end_at_one(axes.get_xlim, axes.set_xlim, [point.x for point in points])
        _draw_legend(axes, legend)
        return figures.lay_out(axes)


def draw_bars(
    series: Sequence[Series], *, label: str, texts: Sequence[str]
) -> "Figure":
    """Draw one horizontal bar per series.

    Args:
      series: one or more, each with a single value ≥ 0.
      label: accessible name of the figure.
      texts: one text per bar, shown below its name.
    """
    with figures.style():
        axes = _make_axes(20 + 42 * len(series), label)
        lengths = [one.values[0] for one in series]
        bars = axes.barh(
            range(len(series)),
            [max(length, max(lengths) / 150) for length in lengths],
            height=0.6,
            color=[_color(min(number, 1)) for number in range(len(series))],
        )
        names = shorten_all([one.name for one in series], 28)
        for bar, one, text in zip(bars, series, texts, strict=True):
            figures.set_tooltip(bar, f"{one.name}: {text}")
        lines = [f"{name}\n{text}" for name, text in zip(names, texts, strict=True)]
        axes.set_yticks(range(len(series)), lines, color=INK)
        axes.set_ylim(len(series) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(visible=False)
        axes.spines.bottom.set_visible(False)
        axes.set_xticks([])
        return figures.lay_out(axes)


def _make_axes(height: float, label: str) -> "Axes":
    figure = figures.make_figure(_WIDTH, height, label=label)
    figure.set_layout_engine("constrained")
    return figure.add_subplot()


def _draw_legend(axes: "Axes", legend: Sequence[Point]) -> None:
    if legend:
        handles = [axes.plot([], label=p.name, **_look(p))[0] for p in legend]
        figure = figures.lay_out(axes, is_final=False)
        figure.legend(handles=handles, loc="outside lower left", ncols=2)


def _end_at_one(
    get_limits: Callable[[], tuple[float, float]],
    set_limits: Callable[[float, float], object],
    values: Sequence[float],
) -> None:
    """End an axis of values that are at most 1 just above 1, so that marks are whole.

    Args:
      get_limits: getter of the limits of the axis.
      set_limits: their setter.
      values: the values on the axis; if one exceeds 1, the axis is left unchanged.
    """
    low, _ = get_limits()
    if max(values) <= 1:
        set_limits(low, 1 + 0.02 * (1 - low))


def _color(number: int) -> str:
    return SOFT if number < 0 else PALETTE[f"c{number % 10}"][0]


def _show_percent(value: float, _: float) -> str:
    return f"{100 * value:.4g}".replace("-", "−")


def _make_logarithmic(axes: "Axes", values: Sequence[float]) -> None:
    """Make the x axis logarithmic; over a short range, label 2 and 5 × 10ⁿ too."""
    from matplotlib.ticker import EngFormatter, LogLocator

    decades = math.log10(max(values) / min(values))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1,)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.minorticks_off()


def _widen(axes: "Axes") -> None:
    """Widen a logarithmic x axis to `_MIN_DECADES` around its middle."""
    low, high = axes.get_xlim()
    missing = _MIN_DECADES - math.log10(high / low)
    if missing > 0:
        axes.set_xlim(low / 10 ** (missing / 2), high * 10 ** (missing / 2))


def _draw_series(axes: "Axes", series: Sequence[Series], mark: Mark | None) -> None:
    """Draw each series from epoch 1 with a dot at its last epoch; draw the mark."""
    for number, one in enumerate(series):
        (line,) = axes.plot(
            range(1, len(one.values) + 1),
            one.values,
            color=_color(number),
            linestyle=_DASHES[number // 10 % len(_DASHES)],
            marker="o",
            markersize=5,
            markevery=[-1],
        )
        figures.set_tooltip(line, one.name)
    if mark is not None:
        axes.axvline(mark.epoch, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_title(mark.text, loc="right", color=INK, weight="bold", size=11)
    axes.set_xlim(1, max(2, *(len(one.values) for one in series)))
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.set_xlabel("epoch", loc="right")


def _name_ends(axes: "Axes", series: Sequence[Series]) -> None:
    """Write each series' name at the end of its line, for at most 24 series."""
    if len(series) > MAX_NAMED:
        return
    figures.lay_out(axes, is_final=False)
    ends = [axes.transData.transform((1, one.values[-1]))[1] for one in series]
    low, height = axes.bbox.y0, axes.bbox.height
    heights = keep_apart([y - low for y in ends], high=height)
    names = shorten_all([one.name for one in series])
    for number, (name, y) in enumerate(zip(names, heights, strict=True)):
        axes.annotate(
            name,
            (1, y / height),
            (8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=_color(number),
            **_NAME,
        )


def _look(point: Point) -> dict[str, Any]:
    color = _color(point.color)
    return {
        "color": color,
        "marker": "s" if point.is_square else "o",
        "markerfacecolor": CARD if point.is_hollow else color,
        "markeredgewidth": 1.6,
        "linestyle": "none",
    }


def _draw_point(
    axes: "Axes",
    point: Point,
    **settings: Any,
) -> None:
    bars: dict[str, Any] = {
        "color": _color(point.color),
        "linewidth": 1.2,
        "alpha": 0.5,
        "zorder": 2,
    }
    if point.x_interval:
        axes.plot(point.x_interval, [point.y] * 2, **bars)
    if point.y_interval:
        axes.plot([point.x] * 2, point.y_interval, **bars)
    (dot,) = axes.plot(point.x, point.y, **_look(point), **settings)
    figures.set_tooltip(dot, point.name)


def _label_points(axes: "Axes", points: Sequence[Point]) -> "Figure":
    """Lay out the figure, then label each point where there is free space.

    A label covers no marker and no other label, and avoids error bars if possible. A
    point without free space gets no label.
    """
    from matplotlib.transforms import Bbox

    figure = figures.lay_out(axes)
    taken: list[Bbox] = []
    bars: list[Bbox] = []
    for point in points:
        for boxes, xs, ys, margin in (
            (taken, None, None, 5),
            (bars, point.x_interval, None, 1),
            (bars, None, point.y_interval, 1),
        ):
            x, y = xs or (point.x, point.x), ys or (point.y, point.y)
            ends = axes.transData.transform(list(zip(x, y, strict=True)))
            boxes.append(Bbox(ends).padded(margin))
    room = Bbox.from_extents(axes.bbox.x0, axes.bbox.y0, figure.bbox.x1, axes.bbox.y1)
    for point in points:
        label = axes.annotate(
            "",
            (point.x, point.y),
            (0, 0),
            textcoords="offset points",
            color=_color(point.color),
            **_NAME,
        )
        label.set_in_layout(False)
        choices = (
            (text, obstacles, position)
            for text in point.labels
            for obstacles in ([*taken, *bars], taken)
            for position in _POSITIONS
        )
        for text, obstacles, position in choices:
            label.set(text=text, ha="left" if position[0] > 0 else "right")
            label.xyann = position
            box = label.get_window_extent()
            is_inside = Bbox.union([box, room]).bounds == room.bounds
            if is_inside and not box.count_overlaps(obstacles):
                taken.append(box.padded(_LABEL_GAP, 0))
                break
        else:
            label.remove()
    return figure


def spread(xs: Sequence[float], ys: Sequence[float] | None = None) -> list[float]:
    """Move marks of nearly equal x apart, so that they do not overlap.

    Args:
      xs: x of each mark on an axis of costs, in decades.
      ys: y of each mark; only marks of nearly equal y are moved, away from the first
        of them. None moves all of nearly equal x, to both sides of their mean.

    Returns:
      The new x of each mark.
    """
    width = max(max(xs) - min(xs), _MIN_DECADES)
    clusters: list[list[int]] = []
    for number in sorted(range(len(xs)), key=lambda n: (xs[n], n)):
        if clusters and xs[number] - xs[clusters[-1][-1]] < _STEP * width:
            clusters[-1].append(number)
        else:
            clusters.append([number])
    moved = list(xs)
    for cluster in clusters:
        step = width * min(_STEP, _MAX_SPREAD / len(cluster))
        middle = statistics.fmean(xs[number] for number in cluster)
        if ys is None:
            places = {n: p - (len(cluster) - 1) / 2 for p, n in enumerate(cluster)}
        else:
            places = _swarm({number: ys[number] for number in cluster}, ys)
        for number, place in places.items():
            moved[number] = middle + step * place
    return moved


def _swarm(ys: Mapping[int, float], all_ys: Sequence[float]) -> dict[int, float]:
    """Return the column of each mark, nearest to 0, in which it overlaps no other."""
    height = _MARK_HEIGHT * (max(all_ys) - min(all_ys) or 1.0)
    columns: dict[int, float] = {}
    for number, y in ys.items():
        near = {columns[n] for n in columns if abs(ys[n] - y) < height}
        choices = (sign * n for n in range(len(ys)) for sign in (1, -1))
        columns[number] = next(column for column in choices if column not in near)
    return columns


def shorten(name: str, most: int = _MAX_CHARACTERS) -> str:
    """Shorten a name to at most `most` characters by an ellipsis in its middle."""
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def shorten_all(names: Sequence[str], most: int = _MAX_CHARACTERS) -> list[str]:
    """Shorten names; if two become equal, drop the common prefix of all names first."""
    short = [shorten(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    pairs = enumerate(zip(min(names), max(names), strict=False))
    start = next((place for place, (a, b) in pairs if a != b), 0)
    return [shorten(f"…{name[start:]}", most) for name in names]


def keep_apart(wanted: Sequence[float], *, high: float) -> list[float]:
    """Move labels vertically so that they are at least one row (15 points) apart.

    Args:
      wanted: the desired height of each label in points, ≥ 0, in any order.
      high: maximum height in points.

    Returns:
      The new heights in the same order; negative only if the labels do not fit.
    """
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], number))
    placed = list(wanted)
    least = 0.0
    for number in order:
        placed[number] = max(placed[number], least)
        least = placed[number] + _ROW
    for number in reversed(order):
        placed[number] = min(placed[number], high)
        high = placed[number] - _ROW
    return placed
