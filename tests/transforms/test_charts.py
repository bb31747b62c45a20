"""Test the artists of figures, and their SVG and PDF files."""

import itertools
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.transforms import Bbox

from transforms import charts, figures
from transforms.charts import Mark, Point, Series

NAMES = [
    "resnet50",
    'a<b & "c"',
    "a_name_that_is_much_longer_than_a_chart_has_room_for",
    "$x^2$ costs $5",
]
CURVES = [Series(name, [0.1 * n, 0.2, 0.3 + 0.1 * n]) for n, name in enumerate(NAMES)]
RANKS = [Series(name, [4 - n, n + 1, n + 1]) for n, name in enumerate(NAMES)]
MANY = [Series(f"model{n}", [n / 100, n / 90]) for n in range(64)]
SVG = "{http://www.w3.org/2000/svg}"
NUM_NAMES = len(NAMES)


def make_points(count=4, step=0.01):
    return [
        Point(
            NAMES[n] if n < len(NAMES) else f"model{n}",
            x := 0.7 + step * n,
            0.5,
            (x - 0.01, x + 0.01),
            (0.48, 0.53),
            color=n,
            labels=(charts.shorten(NAMES[n]) if n < len(NAMES) else f"model{n}",),
        )
        for n in range(count)
    ]


def scatter(points, **changes):
    labels = {"label": "points", "x_label": "full", "y_label": "subset"}
    return charts.draw_scatter(points, **{**labels, **changes})


DRAW = {
    "histogram": lambda: charts.draw_histogram(
        [Series("available", range(101)), Series("selected", [5] * 101)],
        label="histogram",
        x_label="x",
        unit=" %",
    ),
    "lines": lambda: charts.draw_lines(
        CURVES, label="curves", y_label="accuracy, %", mark=Mark(2, "converged")
    ),
    "many lines": lambda: charts.draw_lines(MANY, label="curves", y_label="y"),
    "one epoch": lambda: charts.draw_lines(
        [Series("a", [0.5])], label="curves", y_label="y", mark=Mark(1, "x")
    ),
    "unequal lengths": lambda: charts.draw_lines(
        [Series("full", [-0.5, 0.5, 1]), Series("subset", [1.0])],
        label="taus",
        y_label="τ-b",
        is_share=False,
        height=180,
    ),
    "ranks": lambda: charts.draw_ranks(RANKS, label="ranks", mark=Mark(3, "converged")),
    "many ranks": lambda: charts.draw_ranks(
        [Series(f"model{n}", [n + 1, 64 - n]) for n in range(64)], label="ranks"
    ),
    "points": lambda: scatter(make_points()),
    "one point": lambda: scatter([Point("a", 0, 0)]),
    "logarithmic": lambda: scatter(
        [Point("a", 1e3, 0, labels=("a",)), Point("b", 2e6, 1, is_hollow=True)],
        x_is_cost=True,
        is_share=False,
        legend=[Point("hollow", 0, 0, color=-1, is_hollow=True)],
    ),
    "intervals": lambda: charts.draw_intervals(
        make_points(), label="intervals", x_label="τ-b"
    ),
    "bars": lambda: charts.draw_bars(
        [Series("full", [9e7]), Series("<none>", [0])], label="b", texts=["90 M", "-"]
    ),
}
every_chart = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)


def texts_of(figure):
    (axes,) = figure.axes
    titles = [axes.title, axes._left_title, axes._right_title]
    labels = [
        label
        for axis in (axes.xaxis, axes.yaxis)
        for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        if min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    ]
    legends = [t for one in (axes.get_legend(), *figure.legends) if one
               for t in one.get_texts()]  # fmt: skip
    found = [*axes.texts, *titles, *legends, axes.xaxis.label, *labels]
    return [text for text in found if text.get_visible() and text.get_text()]


def boxes_of(texts):
    return [text.get_window_extent() for text in texts]


def tooltips_of(figure):
    root = ElementTree.fromstring(figures.to_svg(figure))
    return [node.text for node in root.iter(f"{SVG}title")][1:]


@every_chart
def test_svg_is_well_formed_and_has_a_name(draw):
    figure = draw()
    text = figures.to_svg(figure)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", figure.get_label())
    assert "nan" not in text
    assert "url(" not in text
    assert text.count("http") == 1  # the namespace


@every_chart
def test_all_texts_are_inside_the_figure(draw):
    figure = draw()
    room = figure.bbox.padded(1)
    texts = texts_of(figure)
    assert texts
    for text, box in zip(texts, boxes_of(texts), strict=True):
        assert Bbox.union([room, box]).bounds == room.bounds, text


@every_chart
def test_no_texts_overlap(draw):
    texts = texts_of(draw())
    for one, other in itertools.combinations(texts, 2):
        boxes = boxes_of([one, other])
        assert not boxes[0].padded(-0.5).overlaps(boxes[1].padded(-0.5)), (one, other)


@every_chart
def test_all_data_are_inside_the_axes(draw):
    figure = draw()
    (axes,) = figure.axes
    room = axes.bbox.padded(0.5)
    for line in axes.lines:
        if line.get_transform() is axes.transData and len(line.get_xdata()):
            for place in axes.transData.transform(line.get_xydata()):
                assert room.contains(*place)


@every_chart
def test_all_colours_except_the_background_follow_the_theme(draw):
    root = ElementTree.fromstring(figures.to_svg(draw()))
    style = root.find(f"{SVG}style").text
    for node in root.iter():
        for key in ("fill", "stroke"):
            if node.get(key, "none") != "none":
                (name,) = [
                    word for word in node.get("class").split() if word.startswith(key)
                ]
                light, dark = figures.PALETTE[name.removeprefix(f"{key}-")]
                assert node.get(key) == light
                assert f".{name}{{{key}:{dark}}}" in style
        assert "#" not in node.get("style", "")
    words = list(root.iter(f"{SVG}text"))
    assert words
    assert all("fill" in node.attrib for node in words)


def test_files_are_the_same_in_every_process():
    code = (
        "import hashlib; from tests.transforms.test_charts import DRAW\n"
        "from transforms import figures\n"
        "for draw in DRAW.values():\n"
        "    figure = draw()\n"
        "    data = figures.to_svg(figure).encode() + figures.to_pdf(figure)\n"
        "    data += figures.to_png(figure, dpi=50)\n"
        "    print(hashlib.sha256(data).hexdigest())\n"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": ":".join(filter(None, sys.path)),
            },
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second
    assert len(set(first.split())) == len(DRAW)


def test_saving_twice_gives_the_same_bytes():
    figure = DRAW["points"]()
    assert figures.to_svg(figure) == figures.to_svg(figure)
    assert figures.to_pdf(figure) == figures.to_pdf(figure)
    assert b"/CreationDate" not in figures.to_pdf(figure)


def test_inline_svg_has_no_style_or_namespace():
    text = figures.make_inline(figures.to_svg(DRAW["lines"]()))
    root = ElementTree.fromstring(text)
    assert root.attrib.keys() == {"viewBox", "role", "aria-label"}
    assert "http" not in text
    assert "<style" not in text
    assert {node.text for node in root.iter("title")} == set(NAMES)


def test_matplotlib_settings_of_the_user_have_no_effect():
    plain = figures.to_svg(DRAW["bars"]())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert figures.to_svg(DRAW["bars"]()) == plain


@pytest.mark.parametrize("kind", ["lines", "ranks", "points"])
def test_every_series_is_named(kind):
    figure = DRAW[kind]()
    assert set(tooltips_of(figure)) == set(NAMES)
    words = {text.get_text() for text in texts_of(figure)}
    assert {charts.shorten(name) for name in NAMES} <= words


@pytest.mark.parametrize("kind", ["many lines", "many ranks"])
def test_tooltips_name_many_series(kind):
    figure = DRAW[kind]()
    assert set(tooltips_of(figure)) == {f"model{n}" for n in range(64)}
    assert "model0" not in {text.get_text() for text in texts_of(figure)}


def test_histograms_have_a_bar_for_each_number_that_occurs():
    figure = charts.draw_histogram(
        [Series("groups", [2, 0, 1])], label="x", x_label="classes", first=7, unit=""
    )
    (axes,) = figure.axes
    bars = [
        (bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches
    ]
    assert bars == [pytest.approx((7, 2)), pytest.approx((9, 1))]
    assert tooltips_of(figure) == ["7: 2 groups", "9: 1 groups"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["3 groups"]
    assert axes.get_ylim()[0] == 0


def test_lines_hold_the_values_and_the_mark_is_at_its_epoch():
    (axes,) = DRAW["lines"]().axes
    *lines, mark = axes.lines
    assert [line.get_ydata().tolist() for line in map(_to_arrays, lines)] == [
        list(one.values) for one in CURVES
    ]
    assert set(mark.get_xdata()) == {2}
    assert axes._right_title.get_text() == "converged"


def _to_arrays(line):
    line.set_data(*line.get_data(orig=False))
    return line


def test_better_ranks_are_drawn_higher():
    (axes,) = DRAW["ranks"]().axes
    ends = [axes.transData.transform((3, one.values[-1]))[1] for one in RANKS]
    assert ends == sorted(ends, reverse=True)
    names = {text.get_text(): text.get_window_extent().y0 for text in axes.texts}
    heights = [names[charts.shorten(name)] for name in NAMES]
    assert heights == sorted(heights, reverse=True)


def test_error_bars_are_as_long_as_the_intervals():
    (axes,) = scatter(make_points(1)).axes
    bars = [line.get_xydata().tolist() for line in axes.lines if line.get_alpha()]
    assert bars == [
        [pytest.approx([0.69, 0.5]), pytest.approx([0.71, 0.5])],
        [pytest.approx([0.7, 0.48]), pytest.approx([0.7, 0.53])],
    ]


@pytest.mark.parametrize("step", [0, 0.0001, 0.002])
def test_labels_of_crowded_points_do_not_overlap(step):
    points = make_points(24, step)
    figure = scatter(points)
    (axes,) = figure.axes
    boxes = boxes_of([text for text in axes.texts if text.get_text()])
    assert boxes
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for point in points:
        center = axes.transData.transform((point.x, point.y))
        assert not any(box.contains(*center) for box in boxes)


def test_a_log_axis_has_decades_in_short():
    (axes,) = DRAW["logarithmic"]().axes
    assert axes.get_xscale() == "log"
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert {"1 k", "10 k", "100 k", "1 M"} <= set(words)


def test_bars_are_in_proportion():
    figure = charts.draw_bars(
        [Series("a", [4]), Series("b", [1])], label="bars", texts=["4", "1"]
    )
    first, second = figure.axes[0].patches
    assert first.get_width() == 4 * second.get_width()


def test_series_of_one_colour_differ_by_dashes():
    (axes,) = charts.draw_lines(MANY[:40], label="x", y_label="y").axes
    looks = {
        (line.get_color(), str(line._unscaled_dash_pattern)) for line in axes.lines
    }
    assert len(looks) == 40


def test_labels_are_separated_with_small_moves():
    heights = charts.keep_apart([50, 10, 52, 49], high=100)
    assert min(b - a for a, b in pairwise(sorted(heights))) >= 15
    assert heights[1] == 10
    assert heights[3] < heights[0] < heights[2]


def test_labels_stay_in_bounds():
    heights = charts.keep_apart([99, 98, 100], high=100)
    assert sorted(heights) == pytest.approx([70, 85, 100])


@pytest.mark.parametrize("name", NAMES)
def test_long_names_are_elided_in_the_middle(name):
    short = charts.shorten(name)
    assert len(short) <= 19
    assert short[0] == name[0]
    assert short[-1] == name[-1]


def test_similar_long_names_are_elided_at_the_start():
    names = [f"model_family_{n}_variant_with_long_name" for n in range(3)]
    short = charts.shorten_all(names)
    assert short == [f"…{n}_varian…ong_name" for n in range(3)]
    assert charts.shorten_all(NAMES) == [charts.shorten(name) for name in NAMES]


def test_axis_of_values_up_to_one_ends_at_one():
    point = Point("a", 0.95, 0.9, (0.7, 1.0), (0.7, 1.0))
    (axes,) = charts.draw_intervals([point], label="a", x_label="x").axes
    assert 1 < axes.get_xlim()[1] < 1.02
    (axes,) = charts.draw_scatter(
        [point], label="a", x_label="x", y_label="y", is_share=False, x_is_cost=True
    ).axes
    assert 1 < axes.get_ylim()[1] < 1.02
    point = Point("a", 0.3, 0.3)
    (axes,) = charts.draw_intervals([point], label="a", x_label="x").axes
    assert 1 < axes.get_xlim()[1] < 1.02


def test_marks_of_equal_x_are_spread_only_if_they_would_overlap():
    moved = charts.spread([0, 1, 1, 1, 2], [0, 0.5, 0.505, 0.9, 1])
    assert moved[0] == 0
    assert moved[1] == moved[3] == 1
    assert moved[2] == pytest.approx(1 + 0.026 * 2)
    assert moved[4] == 2
    assert charts.spread([5, 5, 5]) == pytest.approx([4.974, 5, 5.026])


def test_labels_keep_a_gap():
    points = [Point(str(n), n, 0.5, labels=(f"label{n}",)) for n in range(40)]
    figure = charts.draw_scatter(points, label="a", x_label="x", y_label="y")
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 10
    assert not any(
        a.padded(1.4, 0).overlaps(b.padded(1.4, 0))
        for a, b in itertools.combinations(boxes, 2)
    )
