"""Show the training-free comparison of recipes as an HTML page with a dot plot."""

from typing import TYPE_CHECKING

from transforms import charts
from transforms.charts import Point
from transforms.evaluation import training_free
from transforms.evaluation.training_free import Row, TrainingFree
from transforms.reports.page import Chart, Page, render

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure


def make_page(table: TrainingFree) -> Page:
    """Create the page of the training-free comparison."""
    shown = order_rows(table.rows)
    drawn = []
    if figure := draw_recipes(shown):
        note = (
            "Dots show τ-b with the ranking by all classes and images, bars its 95 % "
            "interval over the choice of models, and vertical marks the noise ceiling: "
            "τ-b of the same number of random images of all classes. Grouping methods "
            "are blue, published lists of classes orange."
        )
        drawn = [
            Chart(name="training_free", title="τ-b by recipe", note=note, figure=figure)
        ]
    context = {
        "title": "Which subset should I use? Without training",
        "table": table,
        "rows": shown,
        "headings": [f"{n:,}#" for n in table.ceiling_at],
        "own_rows": [row for row in table.rows if row.answers == "own"],
        "recommendation": training_free.recommend(table),
        "limits": training_free.list_limits(table),
        "charts": drawn,
    }
    return render("training_free.html.j2", context, drawn)


def order_rows(rows: tuple[Row, ...]) -> list[Row]:
    """Sort recipes by mean τ-b over N, best first, and the rows of each by ascending N.

    Rows in which models answer only with the recipe's own classes are omitted.
    """
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        if row.answers == "all":
            blocks.setdefault(row.name, []).append(row)
    ordered = sorted(
        blocks.values(),
        key=lambda block: -sum(row.tau or -1.0 for row in block) / len(block),
    )
    return [
        row for block in ordered for row in sorted(block, key=lambda r: r.num_groups)
    ]


def draw_recipes(rows: list[Row]) -> "Figure | None":
    """Draw the τ-b of each row with its interval and noise ceiling, as a dot plot.

    Grouping methods are blue, published lists of classes orange.

    Returns:
      The figure; None if every τ-b is undefined.
    """
    points = [
        Point(
            name=row.title,
            x=row.tau,
            y=0,
            x_interval=row.tau_interval,
            color=int(row.is_list),
            limit=row.ceiling,
        )
        for row in rows
        if row.tau is not None
    ]
    if not points:
        return None
    return charts.draw_intervals(
        points,
        label="τ-b with the full ranking, its interval and noise ceiling, by recipe",
        x_label="τ-b with the ranking by all classes and images",
    )
