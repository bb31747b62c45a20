"""Recipes in order → a figure: τ-b with its interval against images looped through."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms.evaluation.study import Ranked, RecipeScore
from transforms.reports import drawing, markup
from transforms.reports.drawing import WIDTH, Box, Frame

_LEFT, _TOP, _BELOW = 40.0, 26.0, 42.0
_AREA = 300.0  # height of the figure's area
_LEGEND_ROW = 18.0
_MARK = 4.5
_MOST_NAMES = 12  # of more recipes the best alone is named, the others by their ranks
_APART, _APART_ALL = 8.0, 48.0  # how far recipes stand apart that looped equally long
# A range of so many powers of ten → the numbers of each that are written.
_TICKS = ((3, (1,)), (1.5, (1, 3)), (0.7, (1, 2, 5)), (0, (1, 1.5, 2, 3, 4, 5, 7)))
_NAME_ROOM = 1.12  # underscores and digits are wider than most letters
_LABEL = "τ-b with the full set against images looped through, one mark a recipe"
_PAPER = """
svg { background: var(--paper); } svg text { font-family: system-ui, sans-serif; }
:root { color-scheme: light dark; --paper: #fbfaf8; --ink: #23211e; --soft: #6d6962;
  --line: #e4e0d9; }
@media (prefers-color-scheme: dark) { :root { --paper: #191817; --ink: #eceae6;
  --soft: #a09b93; --line: #3a3734; } }
"""


def draw_study(ranked: Sequence[Ranked]) -> str:
    """Draw the recipes that have a τ-b, as SVG for a page; "" when none has.

    Colours are groupings; squares are subsets whose images difficulty chose. Hollow
    marks never have a clear order: they stand at all images that were looped through.
    """
    shown = [one for one in ranked if one.score.tau is not None]
    if not shown:
        return ""
    groupings = sorted({_find_grouping(one.score) for one in shown})
    colors = {name: number for number, name in enumerate(groupings)}
    legend = _list_legend(groupings, shown)
    frame = Frame(
        _LEFT,
        _TOP,
        WIDTH - 14,
        _TOP + _AREA,
        drawing.widen([math.log10(_find_looped(one.score)) for one in shown]),
        _find_range(shown),
    )

    def draw() -> Iterator[str]:
        yield from drawing.y_axis(frame, "τ-b with the full set", drawing.plain)
        yield from _x_axis(frame)
        places = _find_places(frame, shown)
        for one in reversed(shown):  # the best on top
            yield from _draw_recipe(frame, one, places[one.rank], colors)
        yield from _name_recipes(frame, shown, places, colors)
        yield from _draw_legend(frame, legend)

    rows = (len(legend) + 1) // 2
    return drawing.picture(
        draw(), height=frame.bottom + _BELOW + rows * _LEGEND_ROW, label=_LABEL
    )


def make_svg(figure: str) -> bytes:
    """Make a figure of a page a file of its own, with its colours."""
    style = f"<style>{drawing.STYLE}{_PAPER}</style>"
    head, _, rest = figure.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    title = f"<title>{markup.escape(_LABEL)}</title>"
    return f"{head}>{title}{style}{rest}\n".encode()


def _find_grouping(score: RecipeScore) -> str:
    preset = score.flags.get("preset", "")
    return score.flags.get("grouping") or preset or "other"


def _find_looped(score: RecipeScore) -> int:
    return max(score.looped_subset or score.trained_on, 1)


def _find_range(shown: Sequence[Ranked]) -> tuple[float, float]:
    bounds = [1.0]
    for one in shown:
        bounds += one.score.tau_interval or (one.score.tau or 0,)
    return drawing.widen(bounds)


_Places = dict[int, tuple[float, float]]  # rank → x and y


def _find_places(frame: Frame, shown: Sequence[Ranked]) -> _Places:
    """Place the marks; those that looped equally long stand side by side."""
    alike: dict[int, list[Ranked]] = {}
    for one in shown:
        alike.setdefault(_find_looped(one.score), []).append(one)
    places = {}
    for looped, own in alike.items():
        step = min(_APART, _APART_ALL / len(own))
        for number, one in enumerate(own):
            x = frame.x(math.log10(looped)) + step * (number - (len(own) - 1) / 2)
            places[one.rank] = (x, frame.y(one.score.tau or 0))
    return places


def _x_axis(frame: Frame) -> Iterator[str]:
    """Write powers of ten, and their double and fivefold where there are few."""
    low, high = frame.x_range
    steps = next(steps for widest, steps in _TICKS if high - low >= widest)
    for power in range(math.floor(low), math.ceil(high) + 1):
        for step in steps:
            value = power + math.log10(step)
            if low <= value <= high:
                x = frame.x(value)
                style = ' class="grid"'
                yield drawing.line(x, frame.bottom, x, frame.bottom + 4, style=style)
                words = _shorten_number(step * 10.0**power)
                yield drawing.text(x, frame.bottom + 17, words, anchor="middle")
    words = "images looped until the order is clear"
    yield drawing.text(frame.right, frame.bottom + 33, words, anchor="end")


def _shorten_number(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def _draw_recipe(
    frame: Frame, one: Ranked, place: tuple[float, float], colors: dict[str, int]
) -> Iterator[str]:
    score = one.score
    number = colors[_find_grouping(score)]
    x, y = place
    color = drawing.color(number)
    if score.tau_interval is not None:
        low, high = map(frame.y, score.tau_interval)
        style = f' stroke="{color}" stroke-width="1.2" opacity=".45"'
        yield drawing.line(x, low, x, high, style=style)
    words = markup.escape(f"{one.rank}. {score.name}: τ-b {score.tau:.3f}")
    is_clear = score.looped_subset is not None
    yield _mark(
        x, y, color, is_filled=is_clear, is_square=_is_square(score), title=words
    )


def _is_square(score: RecipeScore) -> bool:
    return score.flags.get("sampling") == "difficulty"


def _mark(
    x: float, y: float, color: str, *, is_filled: bool, is_square: bool, title: str
) -> str:
    fill = color if is_filled else "var(--card, var(--paper))"
    look = f'fill="{fill}" stroke="{color}" stroke-width="1.6"'
    if is_square:
        side = 2 * _MARK
        shape = f'rect x="{x - _MARK:.1f}" y="{y - _MARK:.1f}" width="{side:g}" '
        return f'<{shape}height="{side:g}" {look}><title>{title}</title></rect>'
    shape = f'circle cx="{x:.1f}" cy="{y:.1f}" r="{_MARK:g}"'
    return f"<{shape} {look}><title>{title}</title></circle>"


def _name_recipes(
    frame: Frame, shown: Sequence[Ranked], places: _Places, colors: dict[str, int]
) -> Iterator[str]:
    """Write each recipe's rank and name beside its mark; the rank where it is tight."""
    taken = [(x - _MARK, y - _MARK, 2 * _MARK, 2 * _MARK) for x, y in places.values()]
    for one in shown:
        number = colors[_find_grouping(one.score)]
        choices = [f"{one.rank} {one.score.name}", str(one.rank)]
        if len(shown) > _MOST_NAMES and one is not shown[0]:
            choices = choices[1:]
        x, y = places[one.rank]
        for words in choices:
            width = _NAME_ROOM * drawing.width_of([words])
            if found := _find_room(frame, x, y, width, taken):
                taken.append(found)
                left, top, _, height = found
                yield drawing.name(left, top + height - 2, words, number)
                break


def _find_room(
    frame: Frame, x: float, y: float, width: float, taken: Sequence[Box]
) -> Box | None:
    """Find a place beside a mark that no other label or mark takes."""
    for down in (-5.0, -16.0, 6.0, -27.0, 17.0):
        for left in (x + 7, x - 7 - width):
            box = (left, y + down, width, 11.0)
            inside = left >= frame.left and left + width <= WIDTH
            if inside and not any(drawing.overlap(box, other) for other in taken):
                return box
    return None


class _Item(NamedTuple):
    """What a look of marks means."""

    words: str
    color: str
    is_filled: bool = True
    is_square: bool = False


def _list_legend(groupings: Sequence[str], shown: Sequence[Ranked]) -> list[_Item]:
    items = [
        _Item(name, drawing.color(number)) for number, name in enumerate(groupings)
    ]
    if any(_is_square(one.score) for one in shown):
        items.append(_Item("chosen by difficulty", "var(--soft)", is_square=True))
    if any(one.score.looped_subset is None for one in shown):
        items.append(_Item("never clear", "var(--soft)", is_filled=False))
    return items


def _draw_legend(frame: Frame, items: Sequence[_Item]) -> Iterator[str]:
    for place, item in enumerate(items):
        row, column = divmod(place, 2)
        x = frame.left + 6 + column * (WIDTH - frame.left) / 2
        y = frame.bottom + _BELOW + 12 + row * _LEGEND_ROW
        yield _mark(
            x,
            y - 4,
            item.color,
            is_filled=item.is_filled,
            is_square=item.is_square,
            title=item.words,
        )
        yield drawing.text(x + 11, y, item.words)
