"""Numbers → the parts that charts are drawn of: axes, scales, labels that keep apart.

All is SVG as text, coloured by the page's variables, so that it is light or dark with
the page; coordinates have one digit, so that the same numbers give the same bytes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from transforms.reports import markup

WIDTH = 420
LINE = 13.0  # between two lines of text
_CHARACTER = 7.0  # of a name, about: fonts differ
_LONGEST = 19  # characters of a label
MOST_LABELS = 24  # more have no room: they are named where a pointer rests
_NUM_COLORS = 10

Box = tuple[float, float, float, float]  # left, top, width, height

# Told apart by people who see no red or green, and readable as text on both papers.
STYLE = """
:root { --c0: #2f6fc6; --c1: #c2540a; --c2: #1f8060; --c3: #a8377a; --c4: #6a4fbf;
  --c5: #8a6d00; --c6: #0f7f8c; --c7: #b3362b; --c8: #62676f; --c9: #86552a;
  --good: #1f7a4d; --good-soft: #e2f3ea; --doubt: #8a6200; --doubt-soft: #fbf1d9; }
@media (prefers-color-scheme: dark) { :root { --c0: #7db2f8; --c1: #f0985c;
  --c2: #5ecba3; --c3: #ea8cc3; --c4: #b3a0f5; --c5: #d9bb4a; --c6: #5cc8d5;
  --c7: #f28b80; --c8: #aab0b9; --c9: #d3a272; --good: #6fd3a0; --good-soft: #1f3a2c;
  --doubt: #e6be5a; --doubt-soft: #3d331b; } }
.charts { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; padding: .8rem .9rem .6rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; min-width: 0; }
.stack { display: grid; gap: 1rem; align-content: start; min-width: 0; }
figcaption { font-weight: 600; } figcaption span { display: block; font-weight: 400;
  color: var(--soft); font-size: .85rem; line-height: 1.4; }
svg { display: block; width: 100%; height: auto; margin-top: .5rem; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  fill: var(--soft); } svg .name { font-size: 11px; font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .mark { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; }
svg text.strong { fill: var(--ink); font-weight: 600; }
"""


class Frame(NamedTuple):
    """Where a chart's area lies in its picture, and what its edges stand for."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]  # the second is at the top

    def x(self, value: float) -> float:
        """Place a value from left to right."""
        low, high = self.x_range
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Place a value from the bottom up."""
        low, high = self.y_range
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)


def color(number: int) -> str:
    """Return the colour of a series."""
    return f"var(--c{number % _NUM_COLORS})"


def dashes(number: int) -> str:
    """Return what tells apart series of one colour: dashes after every ten."""
    kinds = ("", "6 3", "2 3", "8 3 2 3")
    kind = kinds[number // _NUM_COLORS % len(kinds)]
    return f' stroke-dasharray="{kind}"' if kind else ""


def shorten(name: str) -> str:
    """Cut a name to what a chart has room for; the middle goes."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST // 2]}…{name[-(_LONGEST // 2 - 1) :]}"


def shorten_all(names: Sequence[str]) -> list[str]:
    """Cut names; where that makes them alike, how they all begin goes as well."""
    short = [shorten(name) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    pairs = enumerate(zip(min(names), max(names), strict=False))
    start = next((place for place, (a, b) in pairs if a != b), 0)
    return [shorten(f"…{name[start:]}") for name in names]


def width_of(labels: Sequence[str]) -> float:
    """Return how wide the widest of some labels is, about."""
    return max(map(len, labels), default=0) * _CHARACTER


def picture(
    content: Iterator[str] | Sequence[str], *, height: float, label: str
) -> str:
    """Put parts into a picture."""
    inside = "".join(content)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{markup.escape(label)}">{inside}</svg>'
    )


def text(  # where, what, how
    x: float, y: float, words: str, *, anchor: str = "start", style: str = ""
) -> str:
    """Write words."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>'
        f"{markup.escape(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, *, style: str) -> str:
    """Draw a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{style}/>'


def path(points: Sequence[tuple[float, float]], number: int, words: str) -> str:
    """Draw a series, named where a pointer rests on it."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{places}" fill="none" stroke="{color(number)}" '
        f'stroke-width="1.8" stroke-linejoin="round"{dashes(number)}>'
        f"<title>{markup.escape(words)}</title></polyline>"
    )


def find_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Choose round numbers in a range: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def widen(values: Sequence[float], *, share: float = 0.06) -> tuple[float, float]:
    """Return a range somewhat wider than some values."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def y_axis(
    frame: Frame, label: str, show: Callable[[float], str], *, most: int = 6
) -> Iterator[str]:
    """Draw the lines across, their numbers, and what they count."""
    for value in find_ticks(*frame.y_range, most=most):
        y = frame.y(value)
        yield line(frame.left, y, frame.right, y, style=' class="grid"')
        yield text(frame.left - 6, y + 4, show(value), anchor="end")
    yield text(0, frame.top - 8, label)


def x_axis(
    frame: Frame, label: str, show: Callable[[float], str], *, is_whole: bool = False
) -> Iterator[str]:
    """Write the numbers below, and what they count."""
    for value in find_ticks(*frame.x_range):
        if is_whole and (value < 1 or value != int(value)):
            continue
        x = frame.x(value)
        yield line(x, frame.bottom, x, frame.bottom + 4, style=' class="grid"')
        yield text(x, frame.bottom + 17, show(value), anchor="middle")
    yield text(frame.right, frame.bottom + 33, label, anchor="end")


def keep_apart(wanted: Sequence[float], *, low: float, high: float) -> list[float]:
    """Move labels so that none overlaps another, as little as it takes.

    Args:
      wanted: heights, in any order.
      low: the least height.
      high: the greatest; exceeded only where there is no room.
    Returns: The heights in the same order.
    """
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], number))
    placed: dict[int, float] = {}
    least = low
    for number in order:
        placed[number] = max(wanted[number], least)
        least = placed[number] + LINE
    most = high
    for number in reversed(order):
        placed[number] = min(placed[number], most)
        most = placed[number] - LINE
    return [placed[number] for number in range(len(wanted))]


def dot(x: float, y: float, number: int, words: str, *, radius: float) -> str:
    """Draw a dot of a series, named where a pointer rests on it."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{color(number)}">'
        f"<title>{markup.escape(words)}</title></circle>"
    )


def name(x: float, y: float, words: str, number: int, *, anchor: str = "start") -> str:
    """Write the name of a series in its colour."""
    style = f' class="name" style="fill:{color(number)}"'
    return text(x, y, words, anchor=anchor, style=style)


def percent(value: float) -> str:
    """Write a share as the number of an axis in percent."""
    return f"{100 * value:.4g}"


def plain(value: float) -> str:
    """Write a number of an axis."""
    return f"{value:.4g}"


def overlap(one: Box, other: Box) -> bool:
    """Tell whether two boxes have a place in common."""
    return all(
        one[side] < other[side] + other[side + 2]
        and other[side] < one[side] + one[side + 2]
        for side in (0, 1)
    )
