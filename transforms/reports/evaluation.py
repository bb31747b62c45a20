"""An evaluation → the page that is shown to colleagues: verdicts, charts and tables."""

from collections.abc import Iterator

from transforms.evaluation.by_accuracies import AccuracyEvaluation
from transforms.evaluation.by_curves import CurveEvaluation
from transforms.evaluation.report import Evaluation
from transforms.reports import (
    drawing,
    evaluation_curves,
    evaluation_predictions,
    markup,
    scatter,
)
from transforms.reports.evaluation_parts import (
    STYLE,
    Standing,
    explain,
    rank_tiles,
    show_standings,
    warn,
)
from transforms.reports.scatter import Point


def make_page(evaluation: Evaluation) -> bytes:
    """Write the page."""
    title, sections = _find_content(evaluation)
    return markup.page(
        title,
        [
            f"<h1>{markup.escape(title)}</h1>",
            *sections,
            warn(evaluation.warnings),
            explain(),
        ],
        style=drawing.STYLE + STYLE,
    )


def _find_content(evaluation: Evaluation) -> tuple[str, Iterator[str]]:
    if isinstance(evaluation, CurveEvaluation):
        names = [one.curve_set.name for one in evaluation.subsets]
        title = (
            f"How good is {names[0]}?"
            if len(names) == 1
            else f"How good are {len(names)} subsets?"
        )
        return title, evaluation_curves.make_sections(evaluation)
    if isinstance(evaluation, AccuracyEvaluation):
        first, second = evaluation.names
        title = f"Do {first} and {second} rank models alike?"
        return title, _make_sections(evaluation)
    names = list(dict.fromkeys(score.name for score in evaluation.scores))
    title = f"How well do {len(names)} groupings rank models?"
    if len(names) == 1:
        title = f"How well does {names[0]} rank models?"
    return title, evaluation_predictions.make_sections(evaluation)


def _make_sections(evaluation: AccuracyEvaluation) -> Iterator[str]:
    first, second = evaluation.names
    yield (
        f'<p class="soft">{len(evaluation.models):,} models, joined on '
        f"{markup.escape(', '.join(evaluation.key_columns))}.</p>"
    )
    yield markup.tiles(rank_tiles(evaluation.ranks, is_share=False))
    points = [
        Point(model, float(x), float(y))
        for model, x, y in zip(
            evaluation.models, evaluation.full, evaluation.subset, strict=True
        )
    ]
    chart = scatter.scatter(
        points,
        label=f"{second} against {first}",
        x_label=first,
        y_label=second,
        is_share=False,
    )
    yield (
        f'<div class="charts"><figure><figcaption>{markup.escape(second)} against '
        f"{markup.escape(first)}<span>Each dot is a model.</span></figcaption>"
        f"{chart}</figure></div>"
    )
    yield "<h2>Models</h2>" + show_standings(
        [
            Standing(model, f"{x:g}", f"{y:g}", x, y)
            for model, x, y in zip(
                evaluation.models, evaluation.full, evaluation.subset, strict=True
            )
        ],
        full=first,
        subset=second,
    )
