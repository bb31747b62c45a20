"""Draw charts with matplotlib and save them as SVG, PDF and PNG.

All figures share one style and one palette. Text stays text in an SVG, and every colour
of the palette becomes a class (`fill-c0`, `stroke-ink`), so that a page or a style
sheet inside the file can show light and dark colours. The same figure always gives the
same bytes: no date, no random id, coordinates with two decimals.
"""

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.dom import minidom  # parses only what matplotlib writes

from transforms import storage

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Name → light and dark. c0 to c9 are distinct for colour-blind readers.
PALETTE = {
    "paper": ("#fbfaf8", "#191817"),
    "card": ("#ffffff", "#232120"),
    "ink": ("#23211e", "#eceae6"),
    "soft": ("#6d6962", "#a09b93"),
    "line": ("#e4e0d9", "#3a3734"),
    "bar": ("#3b7dd8", "#6ea8f5"),
    "bar-soft": ("#d5e3f7", "#2b3a50"),
    "good": ("#1f7a4d", "#6fd3a0"),
    "good-soft": ("#e2f3ea", "#1f3a2c"),
    "bad": ("#b3401f", "#f2906f"),
    "bad-soft": ("#fbe9e2", "#43291f"),
    "doubt": ("#8a6200", "#e6be5a"),
    "doubt-soft": ("#fbf1d9", "#3d331b"),
    "c0": ("#2f6fc6", "#7db2f8"),
    "c1": ("#c2540a", "#f0985c"),
    "c2": ("#1f8060", "#5ecba3"),
    "c3": ("#a8377a", "#ea8cc3"),
    "c4": ("#6a4fbf", "#b3a0f5"),
    "c5": ("#8a6d00", "#d9bb4a"),
    "c6": ("#0f7f8c", "#5cc8d5"),
    "c7": ("#b3362b", "#f28b80"),
    "c8": ("#62676f", "#aab0b9"),
    "c9": ("#86552a", "#d3a272"),
}
_NAMES = {light: name for name, (light, _) in PALETTE.items()}
_INK, _SOFT, _LINE = (PALETTE[name][0] for name in ("ink", "soft", "line"))
_NUM_COLORS = 10
_DASHES = ("solid", (0, (6, 3)), (0, (2, 3)), (0, (8, 3, 2, 3)))

# Lengths are points. 420 points are 5.8 inches, and the width of a card of a page.
_WIDTH = 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 14.0, 28.0, 44.0
_TEXT, _NAME, _ROW = 11.0, 10.0, 14.0  # font sizes and the height of a line
_MARKER = 7.0
MAX_NAMED = 24  # series or points; beyond it only tooltips name them
_MAX_CHARACTERS = 19  # of a name
# Where a label goes beside its point, in order of preference: points right and up.
_PLACES = ((7, 9), (-7, 9), (7, -9), (-7, -9), (8, 0), (-8, 0), (7, 20), (-7, 20),
           (7, -20), (-7, -20))  # fmt: skip

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # part of matplotlib
    "font.size": _TEXT,
    "text.color": _SOFT,
    "text.parse_math": False,  # names may contain dollar signs
    "axes.labelcolor": _SOFT,
    "axes.titlecolor": _SOFT,
    "axes.titlelocation": "left",
    "axes.titlesize": _TEXT,
    "axes.titlepad": 10,
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 1,
    "xtick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.color": _LINE,
    "ytick.labelcolor": _SOFT,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.labelcolor": _SOFT,
    "figure.facecolor": "none",
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # journals refuse type 3
}


class Series(NamedTuple):
    """Numbers in order, such as accuracies by epoch from 1."""

    name: str
    values: Sequence[float]


class Point(NamedTuple):
    """A named point of a scatter plot.

    Attributes:
      x_interval: ends of the horizontal error bar.
      y_interval: ends of the vertical error bar.
      color: number of the colour.
      labels: texts for beside the point, the first that fits is drawn.
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


class Bar(NamedTuple):
    """A named length with a text beside it."""

    name: str
    value: float
    text: str
    color: int = 0


class Mark(NamedTuple):
    """An epoch to point out."""

    epoch: int
    text: str


class Key(NamedTuple):
    """An entry of a legend."""

    text: str
    color: str
    is_square: bool = False
    is_hollow: bool = False


# ---- files


def to_svg(figure: "Figure", *, is_inline: bool = False) -> str:
    """Render a figure as SVG.

    Args:
      figure: its label becomes the accessible name.
      is_inline: leave out what a page defines: namespaces, size, colours.
    """
    salt = re.sub(r"\W+", "", figure.get_label()) or "figure"
    with _style({"svg.hashsalt": salt}):
        data = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(data, format="svg", metadata=nothing)
    document = minidom.parseString(data.getvalue())  # noqa: S318  # our own SVG
    root = document.documentElement
    for name in ("metadata", "clipPath"):
        for node in document.getElementsByTagName(name):
            node.parentNode.removeChild(node)
    ids = {
        node.getAttribute("xlink:href").removeprefix("#")
        for node in document.getElementsByTagName("use")
    }
    for node in document.getElementsByTagName("*"):
        _rewrite_node(document, node, ids)
    for style in document.getElementsByTagName("style"):
        style.firstChild.data = "*{stroke-linejoin:round;stroke-linecap:butt}"
    root.setAttribute("role", "img")
    root.setAttribute("aria-label", figure.get_label())
    if is_inline:
        for name in ("xmlns", "xmlns:xlink", "width", "height", "version"):
            root.removeAttribute(name)
        for style in document.getElementsByTagName("style"):
            style.parentNode.removeChild(style)
    else:
        title = document.createElement("title")
        title.appendChild(document.createTextNode(figure.get_label()))
        root.insertBefore(title, root.firstChild)
        document.getElementsByTagName("style")[0].firstChild.data += _theme()
    text = re.sub(r">\s+<", "><", root.toxml())
    return text if is_inline else f"{text}\n"


def _rewrite_node(
    document: minidom.Document, node: minidom.Element, ids: set[str]
) -> None:
    """Replace palette colours by classes, ids by tooltips, and round coordinates."""
    identity = node.getAttribute("id")
    if identity and identity not in ids:
        node.removeAttribute("id")
        if identity.startswith("tooltip:"):
            title = document.createElement("title")
            words = document.createTextNode(identity.removeprefix("tooltip:"))
            title.appendChild(words)
            node.insertBefore(title, node.firstChild)
    if node.hasAttribute("clip-path"):  # axes include all data
        node.removeAttribute("clip-path")
    if node.hasAttribute("xlink:href") and node.tagName == "use":
        node.setAttribute("href", node.getAttribute("xlink:href"))
        node.removeAttribute("xlink:href")
    classes, rest = [], []
    for declaration in filter(None, node.getAttribute("style").split("; ")):
        key, _, value = declaration.partition(": ")
        if key in {"fill", "stroke"} and value in _NAMES:
            node.setAttribute(key, value)  # for programs that know no style sheets
            classes.append(f"{key}-{_NAMES[value]}")
        else:
            rest.append(declaration.replace("'DejaVu Sans'", "system-ui, sans-serif"))
    if node.hasAttribute("style"):
        node.removeAttribute("style")
        if rest:
            node.setAttribute("style", "; ".join(rest))
        if classes:
            node.setAttribute("class", " ".join(classes))
    for name in ("d", "transform", "x", "y", "width", "height"):
        if node.hasAttribute(name):
            node.setAttribute(name, _round_numbers(node.getAttribute(name)))


def _round_numbers(text: str) -> str:
    """Round to two decimals: processors may differ in the last of them."""
    return re.sub(
        r"-?\d+\.\d+",
        lambda found: f"{round(float(found[0]), 2) + 0.0:g}"
        if abs(float(found[0])) < 1e4
        else f"{float(found[0]):.2f}",
        text,
    )


def _theme() -> str:
    """Return the style sheet of a file: dark colours where the reader prefers them."""
    dark = "".join(
        f".fill-{name}{{fill:{color}}}.stroke-{name}{{stroke:{color}}}"
        for name, (_, color) in PALETTE.items()
    )
    light, background = PALETTE["card"]
    return (
        f"svg{{background:{light}}}@media (prefers-color-scheme: dark)"
        f"{{svg{{background:{background}}}{dark}}}"
    )


def to_pdf(figure: "Figure") -> bytes:
    """Render a figure as PDF, with light colours and embedded fonts."""
    data = io.BytesIO()
    with _style():
        nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
        figure.savefig(data, format="pdf", metadata=nothing)
    return data.getvalue()


def to_png(figure: "Figure", *, dpi: float) -> bytes:
    """Render a figure as PNG."""
    data = io.BytesIO()
    with _style():
        figure.savefig(data, format="png", dpi=dpi, metadata={"Software": None})
    return data.getvalue()


def write(root: str, name: str, figure: "Figure") -> None:
    """Write figures/NAME.svg and figures/NAME.pdf below a folder."""
    storage.write(root, f"figures/{name}.svg", to_svg(figure).encode())
    storage.write(root, f"figures/{name}.pdf", to_pdf(figure))


@contextlib.contextmanager
def _style(more: dict[Any, Any] | None = None) -> Iterator[None]:
    """Apply the style; a user's matplotlibrc has no effect."""
    import matplotlib.style  # noqa: PLC0415  # slow to import

    with matplotlib.style.context(["default", {**_STYLE, **(more or {})}]):
        yield


# ---- charts


def draw_histogram(
    series: Sequence[Series], *, label: str, x_label: str, first: int = 0, unit: str
) -> "Figure":
    """Draw how often each whole number occurs.

    Args:
      series: counts by number; a second series is drawn in front of the first.
      label: accessible name of the figure.
      x_label: what the numbers are.
      first: the number that the first count belongs to.
      unit: follows the numbers, such as " %".
    """
    with _style():
        axes = _make_axes(150, label=label, top=36)
        colors = ["bar"] if len(series) == 1 else ["bar-soft", "bar"]
        for one, name in zip(series, colors, strict=True):
            numbers = [n for n, count in enumerate(one.values) if count]
            bars = axes.bar(
                [first + n for n in numbers],
                [one.values[n] for n in numbers],
                width=1 if len(one.values) > 50 else 0.85,
                color=PALETTE[name][0],
                label=f"{sum(one.values):,} {one.name}",
            )
            for n, bar in zip(numbers, bars, strict=True):
                _set_tooltip(
                    bar, f"{first + n}{unit}: {one.values[n]:,} {one.name}"
                )
        size = max(len(one.values) for one in series)
        axes.set_xlim(first - 0.6, first + size - 0.4)
        axes.set_ylim(0, max(1, *(max(one.values) for one in series)) * 1.02)
        _set_ticks(axes, x_show=lambda x: f"{x:.0f}{unit}", is_whole=True)
        _set_ticks(axes, y_show=lambda y: f"{y:,.0f}", is_whole=True, most=4)
        axes.set_xlabel(x_label)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=2,
            borderaxespad=0.4,
            handlelength=1,
            handletextpad=0.5,
            borderpad=0,
        )
        return _figure_of(axes)


def draw_lines(
    series: Sequence[Series],
    *,
    label: str,
    y_label: str,
    is_share: bool = True,
    height: float = 250,
    mark: Mark | None = None,
) -> "Figure":
    """Draw series against epochs.

    Args:
      series: one or more, of any lengths.
      label: accessible name of the figure.
      y_label: what the values are.
      is_share: whether values are 0 to 1 and shown in percent.
      height: of the axes, in points.
      mark: the epoch to point out.
    """
    is_named = len(series) <= MAX_NAMED
    height = max(height, _ROW * len(series)) if is_named else height
    with _style():
        axes = _make_axes(height, label=label, right=_measure_names(series))
        _draw_series(axes, series)
        axes.set_ylim(_widen([v for one in series for v in one.values], share=0.04))
        _set_ticks(axes, y_show=_percent if is_share else _plain)
        axes.set_title(y_label, x=-_LEFT / axes.bbox.width)
        _draw_mark(axes, mark)
        if is_named:
            _name_ends(axes, series)
        return _figure_of(axes)


def draw_ranks(
    series: Sequence[Series], *, label: str, mark: Mark | None = None
) -> "Figure":
    """Draw ranks against epochs (a bump chart), the best at the top.

    Args:
      series: ranks from 1, equally long.
      label: accessible name of the figure.
      mark: the epoch to point out.
    """
    size = len(series)
    row = 20.0 if size <= MAX_NAMED else max(6.0, 20.0 * MAX_NAMED / size)
    with _style():
        axes = _make_axes(
            row * (size + 1), label=label, right=_measure_names(series)
        )
        _draw_series(axes, series)
        axes.set_ylim(size + 1, 0)
        ranks = range(1, size + 1)
        axes.set_yticks([n for n in ranks if size <= MAX_NAMED or n % 10 == 0])
        axes.set_title("rank", x=-_LEFT / axes.bbox.width)
        _draw_mark(axes, mark)
        if size <= MAX_NAMED:
            _name_ends(axes, series)
        return _figure_of(axes)


def draw_scatter(
    points: Sequence[Point],
    *,
    label: str,
    x_label: str,
    y_label: str,
    is_share: bool = True,
    is_log: bool = False,
    keys: Sequence[Key] = (),
) -> "Figure":
    """Draw points with error bars, and labels where there is room for them.

    Args:
      points: one or more.
      label: accessible name of the figure.
      x_label: what x is.
      y_label: what y is.
      is_share: whether values are 0 to 1 and shown in percent.
      is_log: whether x has a logarithmic scale.
      keys: the legend.
    """
    with _style():
        rows = math.ceil(len(keys) / 2)
        axes = _make_axes(300, label=label, bottom=_BOTTOM + 20 * rows)
        spread = [v for p in points for v in (p.x, *(p.x_interval or ()))]
        if is_log:
            axes.set_xscale("log")
            low, high = _widen([math.log10(value) for value in spread])
            axes.set_xlim(10**low, 10**high)
        else:
            axes.set_xlim(_widen(spread))
        axes.set_ylim(
            _widen([v for p in points for v in (p.y, *(p.y_interval or ()))])
        )
        show = _percent if is_share else _plain
        _set_ticks(axes, y_show=show)
        if is_log:
            _set_log_ticks(axes)
        else:
            _set_ticks(axes, x_show=show)
        axes.set_xlabel(x_label, loc="right")
        axes.set_title(y_label, x=-_LEFT / axes.bbox.width)
        size = _MARKER if any(p.labels for p in points) else _MARKER - 3
        for number, point in enumerate(points):
            _draw_point(axes, point, size, order=3 + len(points) - number)
        _name_points(axes, points)
        if keys:
            _draw_keys(axes, keys)
        return _figure_of(axes)


def draw_intervals(points: Sequence[Point], *, label: str, x_label: str) -> "Figure":
    """Draw numbers with their intervals below each other (a dot plot).

    Args:
      points: `x` with `x_interval`; the first label is written at the right.
      label: accessible name of the figure.
      x_label: what x is.
    """
    row = 36.0
    with _style():
        axes = _make_axes(row * len(points), label=label, left=8, top=8)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set_xlim(_widen([v for p in points for v in (p.x, *(p.x_interval or ()))]))
        axes.set_ylim(len(points) - 0.2, -0.6)
        axes.set_yticks([])
        for place, point in enumerate(points):
            _draw_point(axes, point._replace(y=place + 0.2), _MARKER, order=3)
            for words, x, side in (
                (shorten(point.name, 40), 0, "left"),
                (point.labels[0], 1, "right"),
            ):
                axes.text(
                    x, place - 0.18, words, ha=side, va="center", color=_INK,
                    fontsize=_NAME, transform=axes.get_yaxis_transform(),
                )  # fmt: skip
        _set_ticks(axes, x_show=_plain)
        axes.set_xlabel(x_label)
        return _figure_of(axes)


def draw_bars(bars: Sequence[Bar], *, label: str) -> "Figure":
    """Draw lengths from zero, below each other, with their texts.

    Args:
      bars: one or more, not negative.
      label: accessible name of the figure.
    """
    row = 40.0
    with _style():
        right = 12 + max(_measure(bar.text, _TEXT) for bar in bars)
        axes = _make_axes(
            row * len(bars), label=label, left=2, right=right, top=4, bottom=4
        )
        axes.set_axis_off()
        longest = max(bar.value for bar in bars) or 1
        axes.set_xlim(0, longest)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        for place, bar in enumerate(bars):
            length = max(bar.value, longest / 120)
            (drawn,) = axes.barh(
                place + 0.2, length, height=0.36, color=_color(bar.color)
            )
            _set_tooltip(drawn, f"{bar.name}: {bar.text}")
            axes.text(
                0, place - 0.2, shorten(bar.name, 50), color=_INK, fontweight="bold",
                va="center", fontsize=_NAME,
            )  # fmt: skip
            axes.annotate(
                bar.text, (length, place + 0.2), (7, 0), textcoords="offset points",
                va="center", annotation_clip=False,
            )  # fmt: skip
        return _figure_of(axes)


# ---- parts of charts


def _make_axes(
    height: float,
    *,
    label: str,
    left: float = _LEFT,
    right: float = _RIGHT,
    top: float = _TOP,
    bottom: float = _BOTTOM,
) -> "Axes":
    """Make a figure around axes of a height; all lengths are points."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow to import

    total = height + top + bottom
    figure = Figure(figsize=(_WIDTH / 72, total / 72), dpi=72)
    figure.set_label(label)
    width = _WIDTH - left - right
    return figure.add_axes(
        (left / _WIDTH, bottom / total, width / _WIDTH, height / total)
    )


def _figure_of(axes: "Axes") -> "Figure":
    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101  # for mypy: `_make_axes` makes one
    return figure


def _set_ticks(
    axes: "Axes",
    *,
    x_show: Callable[[float], str] | None = None,
    y_show: Callable[[float], str] | None = None,
    is_whole: bool = False,
    most: int = 6,
) -> None:
    """Put ticks at round numbers of an axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    for axis, show in ((axes.xaxis, x_show), (axes.yaxis, y_show)):
        if show is not None:
            axis.set_major_locator(
                MaxNLocator(most, steps=[1, 2, 5, 10], integer=is_whole)
            )
            axis.set_major_formatter(
                FuncFormatter(lambda value, _, show=show: show(value))
            )


def _set_log_ticks(axes: "Axes") -> None:
    """Label powers of ten, and multiples of them where the range is short."""
    from matplotlib.ticker import (  # noqa: PLC0415  # slow to import
        EngFormatter,
        LogLocator,
        NullLocator,
    )

    low, high = map(math.log10, axes.get_xlim())
    steps = next(
        steps
        for widest, steps in (
            (3, (1,)), (1.5, (1, 3)), (0.7, (1, 2, 5)), (0, (1, 1.5, 2, 3, 4, 5, 7)),
        )
        if high - low >= widest
    )  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=30))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))


def _percent(value: float) -> str:
    return f"{100 * value:.4g}".replace("-", "−")


def _plain(value: float) -> str:
    return f"{round(value, 9):.4g}".replace("-", "−")


def _widen(values: Sequence[float], *, share: float = 0.06) -> tuple[float, float]:
    """Return a range somewhat wider than some values."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def _color(number: int) -> str:
    return PALETTE[f"c{number % _NUM_COLORS}"][0]


def _set_tooltip(artist: "Artist", text: str) -> None:
    """Show a text where the pointer rests; `to_svg` reads it from the id."""
    artist.set_gid(f"tooltip:{text}")


def _draw_series(axes: "Axes", series: Sequence[Series]) -> None:
    """Draw values by epoch from 1, each with a dot at its end."""
    for number, one in enumerate(series):
        (line,) = axes.plot(
            range(1, len(one.values) + 1),
            one.values,
            color=_color(number),
            linestyle=_DASHES[number // _NUM_COLORS % len(_DASHES)],
            marker="o",
            markersize=5,
            markevery=[-1],
            label=one.name,
        )
        _set_tooltip(line, one.name)
    axes.set_xlim(1, max(2, *(len(one.values) for one in series)))
    _set_ticks(axes, x_show=lambda x: f"{x:.0f}", is_whole=True)
    axes.set_xlabel("epoch", loc="right")


def _draw_mark(axes: "Axes", mark: Mark | None) -> None:
    if mark is not None:
        axes.axvline(mark.epoch, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_title(
            mark.text, loc="right", color=_INK, fontweight="bold", fontsize=_NAME
        )


def _measure(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a text in points."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415  # slow to import

    properties = FontProperties("DejaVu Sans", size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, properties, ismath=False
    )
    return width


def _measure_names(series: Sequence[Series]) -> float:
    """Return the room that names at the ends of lines take."""
    if len(series) > MAX_NAMED:
        return _RIGHT
    names = shorten_all([one.name for one in series])
    return 14 + max(_measure(name, _NAME, "bold") for name in names)


def _name_ends(axes: "Axes", series: Sequence[Series]) -> None:
    """Write the name of every series at its end."""
    height = axes.bbox.height
    ends = [axes.transData.transform((1, one.values[-1]))[1] for one in series]
    heights = keep_apart([y - axes.bbox.y0 for y in ends], high=height)
    names = shorten_all([one.name for one in series])
    for number, (name, y) in enumerate(zip(names, heights, strict=True)):
        axes.text(
            1 + 8 / axes.bbox.width, y / height, name, transform=axes.transAxes,
            color=_color(number), fontsize=_NAME, fontweight="bold",
            va="center_baseline",
        )  # fmt: skip


def _draw_point(axes: "Axes", point: Point, size: float, *, order: float) -> None:
    color = _color(point.color)
    for xs, ys in (
        (point.x_interval, (point.y, point.y)),
        ((point.x, point.x), point.y_interval),
    ):
        if xs is not None and ys is not None:
            axes.plot(xs, ys, color=color, linewidth=1.2, alpha=0.5, zorder=2)
    (dot,) = axes.plot(
        point.x,
        point.y,
        marker="s" if point.is_square else "o",
        markersize=size,
        color=color,
        markerfacecolor=PALETTE["card"][0] if point.is_hollow else color,
        markeredgewidth=1.6,
        zorder=order,
        label=point.name,
    )
    _set_tooltip(dot, point.name)


def _name_points(axes: "Axes", points: Sequence[Point]) -> None:
    """Write labels beside points, where they cover no point and no other label.

    The lines of error bars are left free where possible.
    """
    from matplotlib.transforms import Bbox  # noqa: PLC0415  # slow to import

    show = axes.transData.transform
    half = _MARKER / 2 + 1
    taken = [Bbox.from_extents(*(show((p.x, p.y)) - half), *(show((p.x, p.y)) + half))
             for p in points]  # fmt: skip
    bars = []
    for p in points:
        (x1, x2), (y1, y2) = p.x_interval or (p.x, p.x), p.y_interval or (p.y, p.y)
        for ends in ((x1, p.y, x2, p.y), (p.x, y1, p.x, y2)):
            start, end = show(ends[:2]), show(ends[2:])
            bars.append(Bbox.from_extents(*(start - 1), *(end + 1)))
    room = _figure_of(axes).bbox
    for point in points:
        text = axes.annotate(
            "", (point.x, point.y), (0, 0), textcoords="offset points",
            color=_color(point.color), fontsize=_NAME, fontweight="bold",
            va="center_baseline",
        )  # fmt: skip
        is_placed = False
        for words, obstacles, (right, up) in (
            (words, obstacles, place)
            for words in point.labels
            for obstacles in ([*taken, *bars], taken)
            for place in _PLACES
        ):
            text.set_text(words)
            text.set_ha("left" if right > 0 else "right")
            text.xyann = (right, up)
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= room.x1
            inside = inside and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            if inside and not box.count_overlaps(obstacles):
                taken.append(box)
                is_placed = True
                break
        if not is_placed:
            text.remove()


def _draw_keys(axes: "Axes", keys: Sequence[Key]) -> None:
    """Draw the legend below the axes."""
    from matplotlib.lines import Line2D  # noqa: PLC0415  # slow to import

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="s" if key.is_square else "o",
            markersize=_MARKER,
            markeredgewidth=1.6,
            color=key.color,
            markerfacecolor=PALETTE["card"][0] if key.is_hollow else key.color,
            label=key.text,
        )
        for key in keys
    ]
    figure = _figure_of(axes)
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(_LEFT / _WIDTH, 0),
        ncols=2,
        handlelength=1,
        borderaxespad=0.2,
    )


def make_key(text: str, color: int | None, **looks: bool) -> Key:
    """Make an entry of a legend; without a colour it is grey."""
    return Key(text, _SOFT if color is None else _color(color), **looks)


def shorten(name: str, most: int = _MAX_CHARACTERS) -> str:
    """Replace the middle of a long name by an ellipsis."""
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def shorten_all(names: Sequence[str]) -> list[str]:
    """Shorten names; drop their common beginning where they would become equal."""
    short = [shorten(name) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    pairs = enumerate(zip(min(names), max(names), strict=False))
    start = next((place for place, (a, b) in pairs if a != b), 0)
    return [shorten(f"…{name[start:]}") for name in names]


def keep_apart(wanted: Sequence[float], *, high: float, low: float = 0) -> list[float]:
    """Move labels apart by a line each, as little as possible.

    Args:
      wanted: heights, in any order.
      high: the greatest height.
      low: the least; exceeded only where there is no room.

    Returns:
      The heights in the same order.
    """
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], number))
    placed: dict[int, float] = {}
    least = low
    for number in order:
        placed[number] = max(wanted[number], least)
        least = placed[number] + _ROW
    most = high
    for number in reversed(order):
        placed[number] = min(placed[number], most)
        most = placed[number] - _ROW
    return [placed[number] for number in range(len(wanted))]
