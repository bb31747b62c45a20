"""Draw the difficulty histogram of a dataset's card as SVG.

The SVG is written without a plotting library, because the bytes of a dataset must not
depend on a library's version. Figures of reports use matplotlib instead
(`transforms/figures.py`).
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 26, 30, 44
_TICKS = (0, 25, 50, 75, 100)
_FILLS = ("var(--bar-soft, #d5e3f7)", "var(--bar, #3b7dd8)")
_INK, _LINE = "var(--soft, #6d6962)", "var(--line, #e4e0d9)"


class Series(NamedTuple):
    """A named histogram with one count per percent from 0 to 100."""

    name: str
    counts: Sequence[int]


def draw_histogram(series: Sequence[Series], *, caption: str) -> str:
    """Draw a histogram of one series, or of two overlaid series, as SVG.

    Args:
      series: one or two series of 101 counts; the first is drawn behind the second.
      caption: title of the figure and its text for screen readers.
    """
    most = max((max(s.counts) for s in series), default=0) or 1
    parts = [_axes(most)]
    fills = _FILLS if len(series) > 1 else _FILLS[1:]
    for number, (one, fill) in enumerate(zip(series, fills, strict=True)):
        parts.append(_bars(one, most, fill))
        parts.append(_legend(one, number, fill))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'width="100%" style="max-width:46rem" role="img" '
        f'aria-label="{escape(caption)}" '
        'font-family="system-ui, sans-serif" font-size="11">'
        f"<title>{escape(caption)}</title>{''.join(parts)}</svg>"
    )


def _x(percent: float) -> float:
    return _LEFT + (percent + 0.5) / 101 * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _axes(most: int) -> str:
    lines = []
    for share in (0, 0.5, 1):
        y = _y(share)
        lines.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{_LINE}"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" fill="{_INK}" '
            f'text-anchor="end">{round(share * most):,}</text>'
        )
    for percent in _TICKS:
        lines.append(
            f'<text x="{_x(percent):.1f}" y="{_HEIGHT - _BOTTOM + 16}" fill="{_INK}" '
            f'text-anchor="middle">{percent} %</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    lines.append(
        f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" fill="{_INK}" text-anchor="middle">'
        "hard ← probability of the right answer → easy</text>"
    )
    return "".join(lines)


def _bars(series: Series, most: int, fill: str) -> str:
    width = (_WIDTH - _LEFT - _RIGHT) / 101
    bars = []
    for percent, count in enumerate(series.counts):
        if count:
            y = _y(count / most)
            bars.append(
                f'<rect x="{_x(percent) - width / 2:.1f}" y="{y:.1f}" '
                f'width="{width:.2f}" height="{_y(0) - y:.1f}">'
                f"<title>{percent} %: {count:,} {escape(series.name)}</title></rect>"
            )
    return f'<g fill="{fill}">{"".join(bars)}</g>'


def _legend(series: Series, number: int, fill: str) -> str:
    x = _LEFT + number * 200
    text = f"{sum(series.counts):,} {series.name}"
    return (
        f'<rect x="{x}" y="8" width="12" height="12" fill="{fill}"/>'
        f'<text x="{x + 18}" y="18" fill="{_INK}">{escape(text)}</text>'
    )
