"""Show an evaluation as an HTML page with verdicts, charts and tables of models."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from transforms import charts
from transforms.arrays import FloatArray, IntArray
from transforms.charts import Mark, Point, Series
from transforms.evaluation import by_accuracies, by_curves, convergence
from transforms.evaluation.by_accuracies import AccuracyEvaluation
from transforms.evaluation.by_curves import CurveEvaluation, ScoredSet, ScoredSubset
from transforms.evaluation.by_predictions import PredictionEvaluation, advise
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.report import Evaluation
from transforms.evaluation.significance import Z_95, PairTests
from transforms.evaluation.verdict import describe_interval
from transforms.records import format_fraction, format_percent
from transforms.reports.page import Chart, Page, make_stem, render
from transforms.reports.study import VERDICT_KINDS

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure

Facts = list[tuple[str, object]]

_MAX_OUTLIERS = 8


class Standing(NamedTuple):
    """A row of the table of models: a model's ranks and formatted accuracies."""

    rank: int
    subset_rank: int
    model: str
    full: str
    subset: str

    @property
    def move(self) -> int:
        """Number of ranks that the model gains on the subset; negative for a loss."""
        return self.rank - self.subset_rank


def make_page(evaluation: Evaluation) -> Page:
    """Create the page of an evaluation of any kind."""
    if isinstance(evaluation, CurveEvaluation):
        return _make_curves_page(evaluation)
    if isinstance(evaluation, AccuracyEvaluation):
        return _make_accuracies_page(evaluation)
    return _make_predictions_page(evaluation)


# ---- two columns of accuracies


def _make_accuracies_page(evaluation: AccuracyEvaluation) -> Page:
    first, second = evaluation.names
    full, subset = evaluation.full, evaluation.subset
    figure = charts.draw_scatter(
        _name_all([
            Point(model, float(x), float(y))
            for model, x, y in zip(evaluation.models, full, subset, strict=True)
        ]),
        label=f"{second} against {first}",
        x_label=first,
        y_label=second,
        is_share=False,
    )
    chart = Chart(
        name="accuracies",
        title=f"{second} against {first}",
        note=_explain_dots(len(evaluation.models)),
        figure=figure,
    )
    context = {
        "title": f"Do {first} and {second} rank models alike?",
        "evaluation": evaluation,
        "advice": by_accuracies.advise(evaluation),
        "facts": _list_rank_facts(evaluation.ranks, is_share=False),
        "charts": [chart],
        "standings": _rank_models(
            evaluation.models,
            full,
            subset,
            full_texts=[f"{value:g}" for value in full],
            subset_texts=[f"{value:g}" for value in subset],
        ),
    }
    return render("accuracies.html.j2", context, [chart])


# ---- predictions of trained models, by grouping


def _make_predictions_page(evaluation: PredictionEvaluation) -> Page:
    names = list(dict.fromkeys(score.name for score in evaluation.scores))
    title = f"How well do {len(names)} groupings rank models?"
    if len(names) == 1:
        title = f"How well does {names[0]} rank models?"
    overview = _draw_taus(evaluation)
    sections: list[dict[str, Any]] = [
        {
            "score": score,
            "name": score.title,
            "has_bounds": not score.is_rankable,
            "facts": [
                *_list_rank_facts(score.ranks, is_share=True),
                *_list_pair_facts(score.pairs),
                ("τ-b on other images", format_fraction(score.halves.tau)),
                ("τ-b, groups of equal weight", format_fraction(score.tau_balanced)),
                (
                    "undecided images",
                    format_percent(float(score.undecided.mean()), 2),
                ),
            ],
            "chart": Chart(
                name=make_stem("accuracies", f"{number:02}", score.title),
                title="Accuracies",
                note=f"{_explain_dots(len(evaluation.models))} Lines are 95 % "
                "intervals.",
                figure=_draw_accuracies(
                    evaluation.models,
                    evaluation.full,
                    score.tests,
                    label="Accuracy by groups against accuracy by single classes",
                    x_label="single classes, %",
                    y_label="groups, %",
                ),
            ),
            "standings": _rank_tested(evaluation.models, evaluation.full, score.tests),
        }
        for number, score in enumerate(evaluation.scores, 1)
    ]
    context = {
        "title": title,
        "evaluation": evaluation,
        "overview": overview,
        "sections": sections,
        "advice": advise(evaluation.full, evaluation.scores, evaluation.models),
    }
    drawn = [*overview, *(section["chart"] for section in sections)]
    return render("predictions.html.j2", context, drawn)


def _draw_taus(evaluation: PredictionEvaluation) -> list[Chart]:
    """Draw the τ-b of each grouping with its interval and ceiling, best first.

    Returns:
      One chart, or an empty list if no grouping can be ranked.
    """
    points = [
        Point(
            score.title,
            score.ranks.tau or 0,
            0,
            x_interval=score.ranks.tau_interval,
            limit=score.ceiling,
        )
        for score in evaluation.scores
        if score.is_rankable
    ]
    if not points:
        return []
    figure = charts.draw_intervals(
        points,
        label="τ-b of each grouping with its interval and noise ceiling",
        x_label="τ-b",
    )
    note = (
        "Dots show τ-b with the ranking by single classes on all images, lines its "
        "95 % interval, upright marks the noise ceiling: single classes on as many "
        "random images."
    )
    return [Chart(name="tau", title="τ-b by grouping", note=note, figure=figure)]


# ---- learning curves on the full set and on subsets


def _make_curves_page(evaluation: CurveEvaluation) -> Page:
    full, subsets = evaluation.full, evaluation.subsets
    title = f"How good are {len(subsets)} subsets?"
    if len(subsets) == 1:
        title = f"How good is {subsets[0].curve_set.name}?"
    overview = [_draw_seen(full, subsets, "images_seen")] if len(subsets) > 1 else []
    full_charts = [
        _draw_curves(full, "the full set", "curves_full"),
        _draw_ranks(full, "the full set", "ranks_full"),
    ]
    sections: list[dict[str, Any]] = []
    drawn = [*overview, *full_charts]
    for number, subset in enumerate(subsets, 1):
        stem = f"{number:02}_{subset.curve_set.name}" if len(subsets) > 1 else "subset"
        large = [
            _draw_curves(subset, "the subset", make_stem("curves", stem)),
            _draw_ranks(subset, "the subset", make_stem("ranks", stem)),
            _draw_finals(full, subset, make_stem("accuracies", stem)),
        ]
        small = [
            _draw_seen(full, [subset], make_stem("images_seen", stem)),
            _draw_settling(full, subset, make_stem("convergence", stem)),
        ]
        drawn += [*large, *small]
        sections.append({
            "subset": subset,
            "epoch": _show_epoch(subset),
            "facts": _list_subset_facts(full, subset),
            # The full set and the subset beside each other.
            "charts": [full_charts[0], large[0], full_charts[1], large[1], large[2]],
            "small_charts": small,
            "standings": _rank_tested(full.models, full.tests, subset.tests),
        })
    context = {
        "title": title,
        "evaluation": evaluation,
        "kinds": VERDICT_KINDS,
        "advice": by_curves.advise(evaluation),
        "overview": overview,
        "sections": sections,
        "runs": list(_list_runs([full, *subsets])),
    }
    return render("curves.html.j2", context, drawn)


def _list_subset_facts(full: ScoredSet, subset: ScoredSubset) -> Facts:
    gain, interval = subset.verdict.gain, subset.verdict.gain_interval
    between = "" if interval is None else f", 95 %: {describe_interval(interval)}"
    epoch = subset.full_convergence.convergence_epoch
    return [
        (f"gain{between}", "-" if gain is None else f"{gain:.3g}×"),
        (
            "convergence epoch, full set",
            "never" if epoch is None else f"{epoch} of {full.curve_set.epochs}",
        ),
        ("convergence epoch, subset", _show_epoch(subset)),
        ("order kept if only noise mattered", format_percent(subset.ceiling.kept)),
        *_list_pair_facts(subset.pairs),
        *_list_rank_facts(subset.ranks, is_share=True),
    ]


def _show_epoch(scored: ScoredSet) -> str:
    epoch = scored.convergence.convergence_epoch
    return "never" if epoch is None else f"{epoch} of {scored.curve_set.epochs}"


def _find_mark(scored: ScoredSet) -> Mark | None:
    epoch = scored.convergence.convergence_epoch
    # The full set's pairs need not all be in order to converge, as noise may swap some.
    is_subset = isinstance(scored, ScoredSubset)
    what = "converged" if is_subset else "all pairs in order"
    return None if epoch is None else Mark(epoch, f"{what} from epoch {epoch}")


def _make_series(models: Sequence[str], values: FloatArray | IntArray) -> list[Series]:
    return [
        Series(model, row.tolist()) for model, row in zip(models, values, strict=True)
    ]


def _draw_curves(scored: ScoredSet, where: str, name: str) -> Chart:
    figure = charts.draw_lines(
        _make_series(scored.models, scored.curves),
        label=f"Validation accuracy by epoch on {where}",
        y_label="accuracy, %",
        mark=_find_mark(scored),
    )
    note = "Validation accuracy by epoch, best learning rate, one seed."
    if scored.noise is not None:
        deviation = 100 * scored.noise.variance**0.5
        note = (
            "Validation accuracy by epoch, best learning rate, mean of the seeds; the "
            f"standard deviation between seeds is {deviation:.2f} points."
        )
    title = f"Learning curves on {where}"
    return Chart(name=name, title=title, note=note, figure=figure)


def _draw_ranks(scored: ScoredSet, where: str, name: str) -> Chart:
    figure = charts.draw_ranks(
        _make_series(scored.models, convergence.rank_by_epoch(scored.curves)),
        label=f"Ranks by epoch on {where}",
        mark=_find_mark(scored),
    )
    tests = scored.tests
    note = (
        f"{tests.num_significant} of {tests.num_pairs} pairs are significant at the "
        "end; convergence considers only their order."
    )
    return Chart(name=name, title=f"Ranks on {where}", note=note, figure=figure)


def _draw_finals(full: ScoredSet, subset: ScoredSubset, name: str) -> Chart:
    figure = _draw_accuracies(
        full.models,
        full.tests,
        subset.tests,
        label="Final accuracy on the subset against that on the full set",
        x_label="full set, %",
        y_label="subset, %",
    )
    note = (
        f"{_explain_dots(len(full.models))} Lines are 95 % intervals; τ-b = "
        f"{format_fraction(subset.ranks.tau)}."
    )
    return Chart(name=name, title="Final accuracies", note=note, figure=figure)


def _draw_settling(full: ScoredSet, subset: ScoredSubset, name: str) -> Chart:
    """Draw τ-b between the ranking of each epoch and that of the last epoch."""
    figure = charts.draw_lines(
        [
            Series(words, [tau or 0 for tau in scored.convergence.taus])
            for words, scored in (("full set", full), ("subset", subset))
        ],
        label="τ-b with the ranking of the last epoch, by epoch",
        y_label="τ-b",
        is_share=False,
        height=180,
    )
    note = "τ-b of each epoch's ranking with that of the last epoch, over all pairs."
    title = "Convergence of the ranking"
    return Chart(name=name, title=title, note=note, figure=figure)


def _draw_seen(full: ScoredSet, subsets: Sequence[ScoredSubset], name: str) -> Chart:
    """Draw images seen until convergence; for the full set, as the first subset."""
    reached = [(full.curve_set.name, subsets[0].full_convergence)]
    reached += [(subset.curve_set.name, subset.convergence) for subset in subsets]
    texts = [
        f"{one.images_seen:,} (epoch {one.convergence_epoch})"
        if one.images_seen is not None
        else "never converges"
        for _, one in reached
    ]
    title = "Images seen until convergence"
    figure = charts.draw_bars(
        [Series(label, [one.images_seen or 0]) for label, one in reached],
        label=title,
        texts=texts,
    )
    note = "Training images × convergence epoch; the full set first."
    if len({subset.full_convergence.images_seen for subset in subsets}) > 1:
        note += " It converges to the same order of pairs as the first subset."
    return Chart(name=name, title=title, note=note, figure=figure)


def _list_runs(sets: Sequence[ScoredSet]) -> Iterator[tuple[str, object, bool]]:
    """Yield (set name, run, whether the run is used) for every run."""
    for scored in sets:
        curve_set = scored.curve_set
        for model in curve_set.models:
            used = curve_set.best_runs(model)
            for run in curve_set.runs:
                if run.model == model:
                    yield curve_set.name, run, run in used


# ---- parts of several pages


def _draw_accuracies(
    models: Sequence[str],
    full: PairTests,
    subset: PairTests,
    *,
    label: str,
    x_label: str,
    y_label: str,
) -> "Figure":
    """Draw accuracies on the subset against the full set, with 95 % intervals."""
    points = []
    for n, model in enumerate(models):
        x, y = float(full.accuracies[n]), float(subset.accuracies[n])
        x_half, y_half = float(Z_95 * full.errors[n]), float(Z_95 * subset.errors[n])
        points.append(
            Point(model, x, y, (x - x_half, x + x_half), (y - y_half, y + y_half))
        )
    return charts.draw_scatter(
        _name_all(points), label=label, x_label=x_label, y_label=y_label
    )


def _name_all(points: Sequence[Point]) -> list[Point]:
    """Give each point a colour and a label; of more than 24, label the outliers only.

    These are the points whose ranks by x and y differ most.
    """
    if len(points) > charts.MAX_NAMED:
        x_ranks = np.argsort(np.argsort([point.x for point in points]))
        y_ranks = np.argsort(np.argsort([point.y for point in points]))
        moves = np.abs(x_ranks - y_ranks)
        order = np.argsort(-moves, kind="stable").tolist()
        shown = [n for n in order[:_MAX_OUTLIERS] if moves[n]]
        outliers = [
            points[n]._replace(color=1, labels=(charts.shorten(points[n].name),))
            for n in shown
        ]
        others = [points[n]._replace(color=-1) for n in order if n not in shown]
        return [*outliers, *others]
    labels = charts.shorten_all([point.name for point in points])
    return [
        point._replace(color=number, labels=(label,))
        for number, (point, label) in enumerate(zip(points, labels, strict=True))
    ]


def _explain_dots(num_models: int) -> str:
    if num_models <= charts.MAX_NAMED:
        return "Each dot is a model."
    return "Each dot is a model; those whose ranks differ most are orange."


def _list_rank_facts(ranks: RankAgreement, *, is_share: bool) -> Facts:
    interval = ranks.tau_interval
    between = ""
    if interval is not None:
        low, high = format_fraction(interval.low, 2), format_fraction(interval.high, 2)
        between = f", 95 %: {low} to {high}"
    regret = f"{100 * ranks.regret:.2f} points" if is_share else f"{ranks.regret:.4g}"
    return [
        (f"τ-b{between}", format_fraction(ranks.tau)),
        ("Spearman's rho", format_fraction(ranks.spearman)),
        ("τ-b of the better half", format_fraction(ranks.top_half_tau)),
        ("regret of the best model", regret),
    ]


def _list_pair_facts(pairs: PairAgreement) -> Facts:
    kept = pairs.significant_full - len(pairs.contrary)
    return [
        (
            "order kept, of the pairs that are significant on the full set",
            f"{kept} of {pairs.significant_full}",
        ),
        ("resolving power", format_percent(pairs.resolving_power)),
        ("noise ceiling of τ-b", format_fraction(pairs.noise_ceiling)),
    ]


def _rank_tested(
    models: Sequence[str], full: PairTests, subset: PairTests
) -> list[Standing]:
    """Rank models by accuracy; show accuracies in percent, with 95 % intervals (±)."""
    full_texts, subset_texts = (
        [
            f"{100 * accuracy:.2f} ± {100 * Z_95 * error:.2f}"
            for accuracy, error in zip(tests.accuracies, tests.errors, strict=True)
        ]
        for tests in (full, subset)
    )
    return _rank_models(
        models,
        full.accuracies,
        subset.accuracies,
        full_texts=full_texts,
        subset_texts=subset_texts,
    )


def _rank_models(
    models: Sequence[str],
    full: FloatArray,
    subset: FloatArray,
    *,
    full_texts: Sequence[str],
    subset_texts: Sequence[str],
) -> list[Standing]:
    """Rank models on both sets; return one row per model, best on the full set first.

    Ties are ranked in the order of `models`.
    """
    numbers = range(len(models))
    by_subset = sorted(numbers, key=lambda n: (-subset[n], n))
    subset_rank = {number: rank for rank, number in enumerate(by_subset, 1)}
    return [
        Standing(rank, subset_rank[n], models[n], full_texts[n], subset_texts[n])
        for rank, n in enumerate(sorted(numbers, key=lambda n: (-full[n], n)), 1)
    ]
