"""Test the page and the dot plot of the training-free comparison."""

import re

from tests.transforms.evaluation.test_training_free import MODELS, PAIRS, SOME
from transforms import figures
from transforms.evaluation.training_free import Recipe, score_recipes
from transforms.reports.training_free import draw_recipes, make_page, order_rows

TABLE = score_recipes(
    MODELS,
    [
        Recipe("some", 10, (SOME,), is_list=True),
        Recipe("pairs", 500, (PAIRS,)),
        Recipe("pairs", 20, (PAIRS // 2,)),
    ],
    seed=0,
)


def test_recipes_are_sorted_by_tau_and_each_by_its_number_of_groups():
    ordered = order_rows(TABLE.rows)
    assert [(r.name, r.num_groups) for r in ordered] == [
        ("pairs", 20),
        ("pairs", 500),
        ("some", 10),
    ]


def test_the_plot_has_a_row_and_a_ceiling_for_each_recipe():
    figure = draw_recipes(order_rows(TABLE.rows))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["pairs 20", "pairs 500", "some"]
    ceilings = [
        line.get_xdata()[0]
        for line in axes.lines
        if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
    ]
    assert ceilings == [row.ceiling for row in order_rows(TABLE.rows)]
    assert figures.to_svg(figure) == figures.to_svg(
        draw_recipes(order_rows(TABLE.rows))
    )


def test_the_page_has_all_tables_and_its_limits():
    html = make_page(TABLE).html.decode()
    assert len(re.findall("<table>", html)) == 3
    assert "Predictions restricted to the classes of the list" in html
    assert "Nothing here tests training on few images" in html
    assert draw_recipes([]) is None
