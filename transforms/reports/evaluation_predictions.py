"""An evaluation by predictions → its part of the page."""

from collections.abc import Iterator

from transforms.evaluation.by_predictions import GroupScore, PredictionEvaluation
from transforms.evaluation.significance import Z_95
from transforms.reports import charts, markup, scatter
from transforms.reports.charts import Bar
from transforms.reports.evaluation_parts import (
    Standing,
    figure,
    fraction,
    pair_tiles,
    percent,
    rank_tiles,
    show_standings,
    show_tau,
    with_error,
)
from transforms.reports.scatter import Point


def make_sections(evaluation: PredictionEvaluation) -> Iterator[str]:
    """Tell of all groupings, then of each."""
    full = evaluation.full
    yield (
        f'<p class="soft">{len(evaluation.models)} trained models and their answers '
        f"for {evaluation.num_images:,} validation images, of which they tell "
        f"{full.num_decided} of {full.num_pairs} pairs apart by single classes. "
        "Nothing was trained: a model's answer is the group of its class.</p>"
    )
    yield _overview(evaluation)
    bars = [
        Bar(_name(score), max(score.ranks.tau or 0, 0), fraction(score.ranks.tau))
        for score in evaluation.scores
    ]
    chart = charts.bar_chart(bars, label="τ-b of each grouping")
    note = "With the accuracies over single classes, on all images."
    yield f'<div class="charts">{figure("τ-b by grouping", note, chart)}</div>'
    for score in evaluation.scores:
        yield from _show_score(evaluation, score)


def _name(score: GroupScore) -> str:
    return f"{score.name}, own classes" if score.is_masked else score.name


def _overview(evaluation: PredictionEvaluation) -> str:
    columns = [
        "grouping", "answers", "groups#", "images#", "τ-b (95 %)#",
        "τ-b, same images#", "Spearman#", "resolving power#", "undecided#",
    ]  # fmt: skip
    rows = [
        (
            markup.escape(score.name),
            "own classes" if score.is_masked else "all classes",
            str(score.shape.num_groups),
            f"{score.num_images:,}",
            show_tau(score.ranks.tau, score.ranks.tau_interval),
            fraction(score.tau_same_images),
            fraction(score.ranks.spearman),
            percent(score.pairs.resolving_power),
            percent(float(score.undecided.mean()), 2),
        )
        for score in evaluation.scores
    ]
    return markup.table(columns, rows)


def _show_score(evaluation: PredictionEvaluation, score: GroupScore) -> Iterator[str]:
    full, tests, models = evaluation.full, score.tests, evaluation.models
    yield f"<h2>{markup.escape(_name(score))}</h2>"
    yield markup.tiles([
        *rank_tiles(score.ranks, is_share=True),
        *pair_tiles(score.pairs),
        ("undecided images", percent(float(score.undecided.mean()), 2)),
    ])
    points = [
        Point(
            model,
            float(full.accuracies[n]),
            float(tests.accuracies[n]),
            float(Z_95 * full.errors[n]),
            float(Z_95 * tests.errors[n]),
        )
        for n, model in enumerate(models)
    ]
    chart = scatter.scatter(
        points,
        label="Accuracy over groups against that over single classes",
        x_label="single classes, %",
        y_label="groups, %",
    )
    needed = [
        (f"{100 * share:.0f} %", "-" if images is None else f"{images:,}")
        for share, images in score.needed.items()
    ]
    yield (
        '<div class="charts">'
        + figure("Accuracies", "With 95 % intervals.", chart)
        + "<figure><figcaption>Validation images needed<span>To tell apart so many of "
        "the pairs that single classes tell apart, models on the same images; - where "
        "too many have another order.</span></figcaption>"
        + markup.table(["pairs", "images#"], needed)
        + "</figure></div>"
    )
    yield show_standings(
        [
            Standing(
                model,
                with_error(full.accuracies[n], full.errors[n]),
                with_error(tests.accuracies[n], tests.errors[n]),
                full.accuracies[n],
                tests.accuracies[n],
            )
            for n, model in enumerate(models)
        ],
        full="single classes, %",
        subset="groups, %",
    )
