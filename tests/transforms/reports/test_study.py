"""Test the page and figure of a study with invented scores."""

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest

from tests.transforms.evaluation.test_study import REVERSED, score
from transforms import figures
from transforms.evaluation.study import rank
from transforms.reports.study import StudyPage, draw_study, make_page


def make(scores, **changes) -> str:
    ranked = rank(scores)
    page = StudyPage(
        ranked=ranked,
        links={s.name: f"evaluations/{s.name}/report.html" for s in scores},
        left_out=[],
        waiting=[],
        models=["mlp", "cnn"],
        num_seeds=1,
        epochs=5,
        subset_epochs=[5],
        warnings=[],
    )
    return make_page(dataclasses.replace(page, **changes)).html.decode()


BEST = score("best", 0.9, (0.7, 1.0))
TIED = score("tied", 0.8, (0.6, 1.0), converges_after=None)
WORST = score("worst", -0.5, (-0.9, -0.1), accuracies=REVERSED)


def test_recipes_are_sorted_and_linked_and_ties_are_marked():
    page = make([WORST, TIED, BEST])
    assert re.findall(r'href="evaluations/(\w+)/report.html"', page) == [
        "best",
        "tied",
        "worst",
    ]
    assert page.count("tied with the best") == 1
    assert "0.900 (0.70 to 1.00)" in page
    assert "never converges" in page
    assert "but 1 of the 2 others cannot be distinguished from it" in page


def test_left_out_and_waiting_recipes_and_warnings_are_escaped():
    page = make(
        [BEST],
        left_out=[("tiny", "<b>too few</b>")],
        waiting=["later"],
        warnings=["few models"],
    )
    assert "1 recipe left out, with reasons" in page
    assert "&lt;b&gt;too few&lt;/b&gt;" in page
    assert "Recipes not yet evaluated: 1." in page
    assert "few models" in page


def test_long_lists_are_folded():
    models = [f"model {n}" for n in range(13)]
    page = make([BEST], models=models, warnings=[f"warning {n}" for n in range(13)])
    assert "<summary>All 13 models</summary>" in page
    assert "<summary>13 warnings</summary>" in page
    assert "warnings</summary>" not in make([BEST], warnings=["few"])
    assert make([BEST], warnings=["few"]).count("<summary>") == 1  # the glossary


def test_a_study_without_results_has_a_page():
    assert "No recipe could be evaluated." in make([])
    assert draw_study([]) is None
    assert draw_study(rank([score("a", None)])) is None


@pytest.mark.parametrize("count", [1, 3, 60])
def test_the_figure_has_a_mark_and_a_label_for_each_recipe(count):
    scores = [
        score(
            f"recipe_{n}", 0.9 - n / 100, (0.5, 1.0), converges_after=10 ** (2 + n % 3)
        )
        for n in range(count)
    ]
    figure = draw_study(rank(scores))
    svg = ET.fromstring(figures.to_svg(figure))
    titles = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("τ-b 0" in (text or "") for text in titles) == count
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.texts]
    assert "1 recipe_0" in names
    assert len(names) == len(set(names)) <= count
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_recipes_without_convergence_are_hollow_and_in_the_legend():
    figure = draw_study(rank([BEST, TIED]))
    assert "never converges" in figures.to_svg(figure)
    fills = {
        line.get_gid().partition(":")[2]: line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if (line.get_gid() or "").startswith("tooltip:")
    }
    card = figures.PALETTE["card"][0]
    assert fills["2. tied: τ-b 0.800"] == card
    assert fills["1. best: τ-b 0.900"] != card
    assert "never converges" not in figures.to_svg(draw_study(rank([BEST, WORST])))


def test_recipes_that_saw_equally_many_images_are_drawn_side_by_side():
    figure = draw_study(
        rank([score(f"r{n}", 0.9, converges_after=1000) for n in range(3)])
    )
    places = [
        figure.axes[0].transData.transform(line.get_xydata()[0])[0]
        for line in figure.axes[0].lines
        if (line.get_gid() or "").startswith("tooltip:")
    ]
    gaps = [b - a for a, b in itertools.pairwise(sorted(places))]
    assert min(gaps) > 5


def test_marks_of_one_cost_stay_near_it():
    scores = [score(n, t, converges_after=480) for n, t in (("a", 0.9), ("b", 0.5))]
    (axes,) = draw_study(rank(scores)).axes
    low, high = axes.get_xlim()
    assert high / low >= 9.999
    places = [
        line.get_xdata()[0]
        for line in axes.lines
        if (line.get_gid() or "").startswith("tooltip:")
    ]
    assert len(set(places)) == 2
    for place in places:
        assert abs(math.log(place / 480) / math.log(high / low)) < 0.02
