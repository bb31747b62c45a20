"""Models on two sets → a chart of one against the other, with error bars."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms.reports import drawing
from transforms.reports.drawing import WIDTH, Frame

_LEFT, _TOP, _BELOW = 40.0, 26.0, 42.0
_AREA = 300.0  # height of the chart's area


class Point(NamedTuple):
    """One model on two sets, with half of each error bar."""

    name: str
    x: float
    y: float
    x_error: float = 0.0
    y_error: float = 0.0


def scatter(
    points: Sequence[Point],
    *,
    label: str,
    x_label: str,
    y_label: str,
    is_share: bool = True,
) -> str:
    """Draw models by what they reach on two sets.

    Args:
      points: one or more.
      label: what the picture shows, for those who do not see it.
      x_label: of the full set's axis.
      y_label: of the subset's axis.
      is_share: whether values are 0 to 1, and shown in percent.
    """
    frame = Frame(
        _LEFT,
        _TOP,
        WIDTH - 14,
        _TOP + _AREA,
        drawing.widen([p.x + s * p.x_error for p in points for s in (-1, 1)]),
        drawing.widen([p.y + s * p.y_error for p in points for s in (-1, 1)]),
    )
    show = drawing.percent if is_share else drawing.plain

    def draw() -> Iterator[str]:
        yield from drawing.y_axis(frame, y_label, show)
        yield from drawing.x_axis(frame, x_label, show)
        for number, point in enumerate(points):
            yield from _draw_point(frame, point, number, is_many=_is_many(points))
        if not _is_many(points):
            yield from _name_points(frame, points)

    return drawing.picture(draw(), height=frame.bottom + _BELOW, label=label)


def _is_many(points: Sequence[Point]) -> bool:
    return len(points) > drawing.MOST_LABELS


def _draw_point(
    frame: Frame, point: Point, number: int, *, is_many: bool
) -> Iterator[str]:
    x, y = frame.x(point.x), frame.y(point.y)
    number = 0 if is_many else number
    style = f' stroke="{drawing.color(number)}" stroke-width="1.2" opacity=".55"'
    if point.x_error:
        low, high = frame.x(point.x - point.x_error), frame.x(point.x + point.x_error)
        yield drawing.line(low, y, high, y, style=style)
    if point.y_error:
        low, high = frame.y(point.y - point.y_error), frame.y(point.y + point.y_error)
        yield drawing.line(x, low, x, high, style=style)
    yield drawing.dot(x, y, number, point.name, radius=2.2 if is_many else 4)


def _name_points(frame: Frame, points: Sequence[Point]) -> Iterator[str]:
    """Name each point on the first of its sides where there is room."""
    taken = [(frame.x(p.x) - 4, frame.y(p.y) - 4, 8.0, 8.0) for p in points]
    names = drawing.shorten_all([point.name for point in points])
    for number, (point, name) in enumerate(zip(points, names, strict=True)):
        x, y = frame.x(point.x), frame.y(point.y)
        width = drawing.width_of([name])
        sides = [  # beside the error bars first
            (x + 6, y - 15, "start", x + 6),
            (x - 6 - width, y - 15, "end", x - 6),
            (x + 6, y + 5, "start", x + 6),
            (x - 6 - width, y + 5, "end", x - 6),
            (x + 8, y - 5, "start", x + 8),
            (x - 8 - width, y - 5, "end", x - 8),
        ]
        for left, top, anchor, at in sides:
            box = (left, top, width, 10.0)
            inside = left >= frame.left and left + width <= WIDTH
            if inside and not any(drawing.overlap(box, other) for other in taken):
                taken.append(box)
                yield drawing.name(at, top + 8, name, number, anchor=anchor)
                break
