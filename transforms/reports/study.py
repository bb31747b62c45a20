"""Show the ranked recipes of a study as an HTML page and a figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms import charts
from transforms.charts import Point
from transforms.evaluation import study as study_ranking
from transforms.evaluation.study import Ranked, RecipeScore
from transforms.reports.page import Chart, Page, render

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure

VERDICT_KINDS = {"useful": "good", "not useful": "bad"}  # others are doubtful
_MAX_NAMED = 12  # of more recipes only the best is named, the others have their rank


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """Content of the page of a study.

    Attributes:
      ranked: evaluated recipes, best first.
      links: link to the page of each recipe's evaluation, by name of the recipe.
      left_out: (name, reason) of each recipe that is left out.
      waiting: names of recipes that are not evaluated yet.
      models: names of the trained models.
      num_seeds: number of seeds per model.
      epochs: epochs of training on the full set.
      subset_epochs: epochs of training on the subsets, ascending.
      warnings: limitations of the study.
    """

    ranked: Sequence[Ranked]
    links: Mapping[str, str]
    left_out: Sequence[tuple[str, str]]
    waiting: Sequence[str]
    models: Sequence[str]
    num_seeds: int
    epochs: int
    subset_epochs: Sequence[int]
    warnings: Sequence[str]


def make_page(study: StudyPage) -> Page:
    """Create the page of a study."""
    drawn = []
    if figure := draw_study(study.ranked):
        note = (
            "One mark per recipe, with the 95 % interval of τ-b and its rank in the "
            "table below; the upper left is best. Marks of nearly equal cost are drawn "
            "side by side; a ranking that never converges counts the whole training."
        )
        chart = Chart(name="study", title="τ-b against cost", note=note, figure=figure)
        drawn.append(chart)
    images_full = {one.score.images_until_convergence_full for one in study.ranked}
    context = {
        "title": "Which subset is best?",
        "study": study,
        "best": study_ranking.describe_best(study.ranked),
        "charts": drawn,
        "kinds": VERDICT_KINDS,
        "images_full": sorted(
            "never converges" if images is None else f"{images:,}"
            for images in images_full
        ),
    }
    return render("study.html.j2", context, drawn)


def draw_study(ranked: Sequence[Ranked]) -> "Figure | None":
    """Draw the τ-b of each recipe against the images seen until convergence.

    Colours show the grouping; squares are subsets whose images were selected by
    difficulty. Hollow marks are subsets whose ranking never converges; they are drawn
    at the number of images seen in the whole training.

    Returns:
      The figure; None if every τ-b is undefined.
    """
    shown = [one for one in ranked if one.score.tau is not None]
    if not shown:
        return None
    groupings = sorted({_find_grouping(one.score) for one in shown})
    legend = [Point(name, 0, 0, color=n) for n, name in enumerate(groupings)]
    if any(_is_by_difficulty(one.score) for one in shown):
        legend.append(Point("selected by difficulty", 0, 0, color=-1, is_square=True))
    if any(one.score.images_until_convergence_subset is None for one in shown):
        legend.append(Point("never converges", 0, 0, color=-1, is_hollow=True))
    places = charts.spread([math.log10(_count_images(one.score)) for one in shown])
    points = []
    for one, place in zip(shown, places, strict=True):
        score = one.score
        name = f"{one.rank} {charts.shorten(score.name, 32)}"
        is_named = len(shown) <= _MAX_NAMED or one is shown[0]
        points.append(
            Point(
                name=f"{one.rank}. {score.name}: τ-b {score.tau:.3f}",
                x=10**place,
                y=score.tau or 0,
                y_interval=score.tau_interval,
                color=groupings.index(_find_grouping(score)),
                is_square=_is_by_difficulty(score),
                is_hollow=score.images_until_convergence_subset is None,
                labels=(name, str(one.rank)) if is_named else (str(one.rank),),
            )
        )
    return charts.draw_scatter(
        points,
        label="τ-b with the full set against images seen, one mark per recipe",
        x_label="images seen until convergence",
        y_label="τ-b with the full set",
        is_share=False,
        x_is_cost=True,
        legend=legend,
    )


def _find_grouping(score: RecipeScore) -> str:
    preset = score.flags.get("preset", "")
    return score.flags.get("grouping") or preset or "other"


def _is_by_difficulty(score: RecipeScore) -> bool:
    return score.flags.get("sampling") == "difficulty"


def _count_images(score: RecipeScore) -> int:
    return max(score.images_until_convergence_subset or score.trained_on, 1)
