"""Show a designed study as an HTML page: τ-b by recipe, and τ-b against cost."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transforms import charts
from transforms.charts import Point
from transforms.evaluation.designed import Design, Result
from transforms.records import format_percent
from transforms.reports.page import Chart, Page, render

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure


def make_page(design: Design) -> Page:
    """Create the page of a designed study."""
    drawn = []
    shown = [r for r in design.results if r.estimate.tau is not None]
    if shown:
        note = (
            "Dots show τ-b with the full set, averaged over draws, and bars its 95 % "
            "interval over architectures; colours show the images seen in training, as "
            "a share of those of the full set."
        )
        if design.ceiling.interval:
            note += (
                " The grey band is the noise ceiling, τ-b of the full set with itself "
                "trained with another seed; vertical marks show it for the validation "
                "images of a recipe alone."
            )
        drawn.append(
            Chart(
                name="recipes",
                title="τ-b by recipe",
                note=note,
                figure=_draw_forest(shown, design),
            )
        )
        note = (
            "The upper left is best. Named, filled marks are on the Pareto front: no "
            "other recipe has a higher τ-b for as few images, but differences may be "
            "chance. Marks of equal cost are drawn side by side."
        )
        if design.ceiling.interval:
            note += " The grey band is the noise ceiling."
        drawn.append(
            Chart(
                name="costs",
                title="τ-b against cost",
                note=note,
                figure=_draw_costs(shown, design),
            )
        )
    context = {
        "title": "Which recipe keeps the ranking at which cost?",
        "design": design,
        "budgets": {r.recipe.name: describe_share(r, design) for r in design.results},
        "num_undecided": sum(
            not design.is_worse(r.recipe.name) for r in design.results[1:]
        ),
        "significant": [d for d in design.differences if d.is_significant],
        "charts": drawn,
    }
    return render("designed.html.j2", context, drawn)


def describe_share(result: Result, design: Design) -> str:
    """Return the images seen in training, as a share of the full set's, e.g. "10 %"."""
    return format_percent(
        result.recipe.num_images_seen / design.num_images_seen, digits=0
    )


def _draw_forest(shown: Sequence[Result], design: Design) -> "Figure":
    """Draw the τ-b of recipes with its interval, over the noise ceiling's interval.

    Args:
      shown: results whose τ-b is defined, at least one.
      design: the study.
    """
    by_cost = sorted(shown, key=lambda result: result.recipe.num_images_seen)
    costs = list(dict.fromkeys(describe_share(r, design) for r in by_cost))
    points = [
        Point(
            name=result.recipe.name,
            x=result.estimate.tau or 0,
            y=0,
            x_interval=result.estimate.interval,
            color=costs.index(describe_share(result, design)),
            limit=result.ceiling,
        )
        for result in shown
    ]
    return charts.draw_intervals(
        points,
        label="τ-b with the full set and its interval, by recipe",
        x_label="τ-b with the full set",
        band=design.ceiling.interval,
        legend=[
            Point(f"{cost} of the images", 0, 0, color=n)
            for n, cost in enumerate(costs)
        ],
    )


def _draw_costs(shown: Sequence[Result], design: Design) -> "Figure":
    """Draw the τ-b of recipes, all of them defined, against the images seen.

    Colours show the labels; squares are recipes with the less common samplers.
    """
    places = charts.spread(
        [math.log10(r.recipe.num_images_seen) for r in shown],
        [r.estimate.tau or 0 for r in shown],
    )
    labels = sorted({r.recipe.factors["labels"] for r in shown})
    samplers = [r.recipe.factors["sampler"] for r in shown]
    usual = max(samplers, key=samplers.count)
    legend = [Point(name, 0, 0, color=n) for n, name in enumerate(labels)]
    if len(set(samplers)) > 1:
        legend.append(Point(f"sampler {usual}", 0, 0, color=-1))
        legend.append(Point("another sampler", 0, 0, color=-1, is_square=True))
    points = [
        Point(
            name=f"{result.recipe.name}: τ-b {result.estimate.tau:.3f}",
            x=10**place,
            y=result.estimate.tau or 0,
            color=labels.index(result.recipe.factors["labels"]),
            is_square=result.recipe.factors["sampler"] != usual,
            is_hollow=not result.is_on_pareto_front,
            labels=(charts.shorten(result.recipe.name, 24),)
            if result.is_on_pareto_front
            else (),
        )
        for result, place in zip(shown, places, strict=True)
    ]
    return charts.draw_scatter(
        points,
        label="τ-b with the full set against images seen, one mark per recipe",
        x_label="images seen in training",
        y_label="τ-b with the full set",
        is_share=False,
        x_is_cost=True,
        band=design.ceiling.interval,
        legend=legend,
    )
