from itertools import pairwise
from xml.etree import ElementTree

import pytest

from transforms.reports import charts, drawing, scatter
from transforms.reports.charts import Bar, Mark, Series
from transforms.reports.scatter import Point

NAMES = [
    "resnet50",
    'a<b & "c"',
    "a_name_that_is_much_longer_than_a_chart_has_room_for",
]
CURVES = [Series(name, [0.1 * n, 0.2, 0.3 + 0.1 * n]) for n, name in enumerate(NAMES)]
RANKS = [Series(name, [3 - n, n + 1, n + 1]) for n, name in enumerate(NAMES)]
POINTS = [Point(name, 0.7 + 0.01 * n, 0.5, 0.01, 0.02) for n, name in enumerate(NAMES)]
MANY = [Series(f"model{n}", [n / 100, n / 90]) for n in range(64)]

PICTURES = {
    "lines": charts.line_chart(CURVES, label="curves", mark=Mark(2, "clear")),
    "many lines": charts.line_chart(MANY, label="curves", mark=None),
    "one epoch": charts.line_chart(
        [Series("a", [0.5])], label="curves", mark=Mark(1, "x")
    ),
    "bumps": charts.bump_chart(RANKS, label="ranks", mark=Mark(3, "clear")),
    "many bumps": charts.bump_chart(
        [Series(f"model{n}", [n + 1, 64 - n]) for n in range(64)],
        label="ranks",
        mark=None,
    ),
    "taus": charts.tau_chart(
        [Series("full", [-0.5, 0.5, 1]), Series("subset", [1.0])], label="taus"
    ),
    "points": scatter.scatter(POINTS, label="points", x_label="x", y_label="y"),
    "one point": scatter.scatter([Point("a", 0, 0)], label="p", x_label="", y_label=""),
    "bars": charts.bar_chart([Bar("all", 9e7, "90 M"), Bar("none", 0, "-")], label="b"),
    "no bars": charts.bar_chart([], label="b"),
}


@pytest.mark.parametrize("drawn", PICTURES.values(), ids=PICTURES)
def test_pictures_are_well_formed_and_have_a_name(drawn):
    root = ElementTree.fromstring(drawn)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "nan" not in drawn
    assert "inf" not in drawn


@pytest.mark.parametrize("drawn", PICTURES.values(), ids=PICTURES)
def test_all_that_is_drawn_lies_in_the_picture(drawn):
    root = ElementTree.fromstring(drawn)
    width, height = map(float, root.get("viewBox").split()[2:])
    for part in root.iter():
        for name, most in (("x", width), ("x1", width), ("x2", width), ("cx", width),
                           ("y", height), ("y1", height), ("y2", height),
                           ("cy", height)):  # fmt: skip
            assert 0 <= float(part.get(name, 0)) <= most, part.attrib


@pytest.mark.parametrize("kind", ["lines", "bumps", "points"])
def test_every_series_is_named(kind):
    root = ElementTree.fromstring(PICTURES[kind])
    words = {part.text for part in root.iter("text")}
    titles = {part.text for part in root.iter("title")}
    assert titles == set(NAMES)
    assert {drawing.shorten(name) for name in NAMES} <= words


@pytest.mark.parametrize("kind", ["many lines", "many bumps"])
def test_many_series_are_named_where_a_pointer_rests(kind):
    root = ElementTree.fromstring(PICTURES[kind])
    titles = {part.text for part in root.iter("title")}
    assert titles == {f"model{n}" for n in range(64)}
    assert "model0" not in {part.text for part in root.iter("text")}


def test_better_ranks_are_drawn_higher():
    root = ElementTree.fromstring(PICTURES["bumps"])
    ends = {}
    for line in root.iter("polyline"):
        ends[line.find("title").text] = float(line.get("points").split(",")[-1])
    assert ends[NAMES[0]] < ends[NAMES[1]] < ends[NAMES[2]]


def test_error_bars_are_as_long_as_the_errors():
    (one, *_), frame = POINTS, PICTURES["points"]
    lines = [
        part
        for part in ElementTree.fromstring(frame).iter("line")
        if "opacity" in part.attrib
    ]
    assert len(lines) == 2 * len(POINTS)
    dots = ElementTree.fromstring(frame).findall("circle")
    step = float(dots[1].get("cx")) - float(dots[0].get("cx"))
    length = float(lines[0].get("x2")) - float(lines[0].get("x1"))
    assert length == pytest.approx(2 * step * one.x_error / 0.01, abs=0.3)


def test_bars_are_in_proportion():
    drawn = charts.bar_chart([Bar("a", 4, ""), Bar("b", 1, "")], label="bars")
    first, second = ElementTree.fromstring(drawn).iter("rect")
    assert float(first.get("width")) == 4 * float(second.get("width"))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.13, 0.84, [0.2, 0.4, 0.6, 0.8]),
        (1, 100, [20, 40, 60, 80, 100]),
        (-0.3, 1.04, [0, 0.5, 1]),
        (1, 3, [1, 1.5, 2, 2.5, 3]),
    ],
)
def test_ticks_are_round_numbers_in_the_range(low, high, ticks):
    assert drawing.find_ticks(low, high) == pytest.approx(ticks)


def test_labels_keep_apart_and_move_little():
    heights = drawing.keep_apart([50, 10, 52, 49], low=0, high=100)
    ordered = sorted(heights)
    gaps = [b - a for a, b in pairwise(ordered)]
    assert min(gaps) >= drawing.LINE
    assert heights[1] == 10
    assert heights[3] < heights[0] < heights[2]


def test_labels_stay_in_their_room():
    heights = drawing.keep_apart([99, 98, 100], low=0, high=100)
    assert max(heights) == 100
    assert sorted(heights) == pytest.approx([
        100 - 2 * drawing.LINE,
        100 - drawing.LINE,
        100,
    ])


def test_series_of_one_colour_differ_by_dashes():
    kinds = {(drawing.color(n), drawing.dashes(n)) for n in range(40)}
    assert len(kinds) == 40


@pytest.mark.parametrize("name", NAMES)
def test_long_names_lose_their_middle(name):
    short = drawing.shorten(name)
    assert len(short) <= 19
    assert short[0] == name[0]
    assert short[-1] == name[-1]


def test_names_that_would_look_alike_lose_how_they_begin():
    names = [f"model_family_{n}_variant_with_long_name" for n in range(3)]
    short = drawing.shorten_all(names)
    assert short == [f"…{n}_varian…ong_name" for n in range(3)]
    assert drawing.shorten_all(NAMES) == [drawing.shorten(name) for name in NAMES]
