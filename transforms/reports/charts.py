"""Series and bars → charts, as SVG that needs no script."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms.reports import drawing, markup
from transforms.reports.drawing import LINE, WIDTH, Frame

_LEFT, _TOP, _BELOW = 34.0, 26.0, 42.0
_AREA = 250.0  # height of a chart's area
_MARK_ROOM = 86.0  # what the axis is called stands left of it
_TAU_AREA = 110.0
_ROW = 20.0  # of a rank
_SMALLEST_ROW = 6.0
_BAR_ROW, _BAR_WIDTH = 48.0, 240.0


class Series(NamedTuple):
    """What one model reaches, by epoch from 1."""

    name: str
    values: Sequence[float]


class Bar(NamedTuple):
    """A length with words beside it."""

    name: str
    value: float
    words: str
    color: int = 0


class Mark(NamedTuple):
    """An epoch that is pointed out."""

    epoch: int
    words: str


def line_chart(series: Sequence[Series], *, label: str, mark: Mark | None) -> str:
    """Draw accuracies against epochs.

    Args:
      series: of all models, 0 to 1; equally long.
      label: what the picture shows, for those who do not see it.
      mark: the epoch to point out.
    """
    is_named = len(series) <= drawing.MOST_LABELS
    height = max(_AREA, LINE * len(series)) if is_named else _AREA
    room = _measure_names(series) if is_named else 10
    flat = [value for one in series for value in one.values]
    frame = Frame(
        _LEFT,
        _TOP,
        WIDTH - room,
        _TOP + height,
        (1, max(len(series[0].values), 2)),
        drawing.widen(flat, share=0.04),
    )

    def draw() -> Iterator[str]:
        yield from drawing.y_axis(frame, "accuracy, %", drawing.percent)
        yield from drawing.x_axis(frame, "epoch", drawing.plain, is_whole=True)
        yield from _draw_mark(frame, mark)
        yield from _draw_series(frame, series)
        if is_named:
            yield from _name_ends(frame, series)

    return drawing.picture(draw(), height=frame.bottom + _BELOW, label=label)


def tau_chart(series: Sequence[Series], *, label: str) -> str:
    """Draw correlations against epochs.

    Args:
      series: of two sets, −1 to 1; of any lengths.
      label: what the picture shows, for those who do not see it.
    """
    room = _measure_names(series)
    longest = max(len(one.values) for one in series)
    lowest = min(0.0, *(value for one in series for value in one.values))
    frame = Frame(
        _LEFT,
        _TOP,
        WIDTH - room,
        _TOP + _TAU_AREA,
        (1, max(longest, 2)),
        (lowest * 1.04, 1.04),
    )

    def draw() -> Iterator[str]:
        yield from drawing.y_axis(frame, "τ-b", drawing.plain, most=4)
        yield from drawing.x_axis(frame, "epoch", drawing.plain, is_whole=True)
        yield from _draw_series(frame, series)
        yield from _name_ends(frame, series)

    return drawing.picture(draw(), height=frame.bottom + _BELOW, label=label)


def _draw_series(frame: Frame, series: Sequence[Series]) -> Iterator[str]:
    for number, one in enumerate(series):
        places = [(frame.x(e), frame.y(v)) for e, v in enumerate(one.values, 1)]
        yield drawing.path(places, number, one.name)
        x, y = places[-1]
        yield drawing.dot(x, y, number, one.name, radius=2.6)


def _name_ends(frame: Frame, series: Sequence[Series]) -> Iterator[str]:
    wanted = [frame.y(one.values[-1]) for one in series]
    heights = drawing.keep_apart(wanted, low=frame.top, high=frame.bottom)
    names = drawing.shorten_all([one.name for one in series])
    for number, (name, y) in enumerate(zip(names, heights, strict=True)):
        yield drawing.name(frame.right + 8, y + 4, name, number)


def _measure_names(series: Sequence[Series]) -> float:
    """Return the room that names at the ends of lines need."""
    return drawing.width_of(drawing.shorten_all([one.name for one in series])) + 14


def _draw_mark(frame: Frame, mark: Mark | None) -> Iterator[str]:
    if mark is None:
        return
    x = frame.x(mark.epoch)
    yield drawing.line(x, frame.top - 4, x, frame.bottom, style=' class="mark"')
    is_right = x > (frame.left + frame.right) / 2
    yield drawing.text(
        x + 4 if is_right else max(x - 4, _MARK_ROOM),
        frame.top - 9,
        mark.words,
        anchor="end" if is_right else "start",
        style=' class="strong"',
    )


def bump_chart(series: Sequence[Series], *, label: str, mark: Mark | None) -> str:
    """Draw ranks against epochs, the best at the top.

    Args:
      series: ranks of all models, 1 the best; equally long.
      label: what the picture shows, for those who do not see it.
      mark: the epoch to point out.
    """
    is_named = len(series) <= drawing.MOST_LABELS
    row = (
        _ROW
        if is_named
        else max(_SMALLEST_ROW, _ROW * drawing.MOST_LABELS / len(series))
    )
    room = _measure_names(series) if is_named else 10
    frame = Frame(
        _LEFT,
        _TOP,
        WIDTH - room,
        _TOP + row * (len(series) + 1),
        (1, max(len(series[0].values), 2)),
        (len(series) + 1, 0),
    )

    def draw() -> Iterator[str]:
        yield drawing.text(0, frame.top - 8, "rank")
        every = 1 if is_named else 10
        for rank in range(1, len(series) + 1):
            if rank % every == 0:
                y = frame.y(rank)
                yield drawing.line(frame.left, y, frame.right, y, style=' class="grid"')
                yield drawing.text(frame.left - 6, y + 4, str(rank), anchor="end")
        yield from drawing.x_axis(frame, "epoch", drawing.plain, is_whole=True)
        yield from _draw_mark(frame, mark)
        yield from _draw_series(frame, series)
        if is_named:
            yield from _name_ends(frame, series)

    return drawing.picture(draw(), height=frame.bottom + _BELOW, label=label)


def bar_chart(bars: Sequence[Bar], *, label: str) -> str:
    """Draw lengths below each other, from nought."""
    longest = max((bar.value for bar in bars), default=0) or 1

    def draw() -> Iterator[str]:
        for number, bar in enumerate(bars):
            y = number * _BAR_ROW
            width = max(_BAR_WIDTH * bar.value / longest, 2)
            yield drawing.text(0, y + 14, bar.name, style=' class="strong"')
            yield (
                f'<rect x="0" y="{y + 21:.1f}" width="{width:.1f}" height="14" rx="3" '
                f'fill="{drawing.color(bar.color)}"><title>{markup.escape(bar.name)}'
                "</title></rect>"
            )
            yield drawing.text(width + 7, y + 33, bar.words)

    return drawing.picture(draw(), height=len(bars) * _BAR_ROW, label=label)
