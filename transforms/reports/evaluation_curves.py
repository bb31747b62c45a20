"""An evaluation by curves → its part of the page."""

from collections.abc import Iterator, Sequence

from transforms.evaluation import convergence as epochs
from transforms.evaluation.by_curves import CurveEvaluation, ScoredSet, ScoredSubset
from transforms.evaluation.significance import Z_95
from transforms.reports import charts, markup, scatter
from transforms.reports.charts import Bar, Mark, Series
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

_KINDS = {"has value": "good", "has none": "bad", "cannot be told": "doubt"}


def make_sections(evaluation: CurveEvaluation) -> Iterator[str]:
    """Tell of all subsets, then of each."""
    full, subsets = evaluation.full, evaluation.subsets
    yield (
        f'<p class="soft">{len(full.models)} models, trained on the full set '
        f"({_describe(full)}) and on {_count_subsets(subsets)}.</p>"
    )
    if len(subsets) > 1:
        yield _overview(subsets)
        yield f'<div class="charts">{_looped([full, *subsets])}</div>'
    for subset in subsets:
        if len(subsets) > 1:
            yield f"<h2>{markup.escape(subset.curve_set.name)}</h2>"
            yield f'<p class="soft">{_describe(subset)}</p>'
        yield from _show_subset(full, subset)
    yield _show_runs([full, *subsets])


def _describe(scored: ScoredSet) -> str:
    one = scored.curve_set
    return markup.escape(
        f"{one.name}: {one.epochs} epochs of {one.train_images:,} training images, "
        f"{one.validation_images:,} validation images"
    )


def _count_subsets(subsets: Sequence[ScoredSubset]) -> str:
    if len(subsets) > 1:
        return f"{len(subsets)} subsets"
    return f"the subset ({_describe(subsets[0])})"


def _overview(subsets: Sequence[ScoredSubset]) -> str:
    columns = [
        "subset", "verdict", "gain#", "τ-b (95 %)#", "order kept#", "resolving power#",
        "clear epoch#",
    ]  # fmt: skip
    rows = [
        (
            markup.escape(one.curve_set.name),
            f'<span class="keep">{markup.escape(one.verdict.value)}</span>',
            _show_gain(one.verdict.gain),
            show_tau(one.ranks.tau, one.ranks.tau_interval),
            percent(one.pairs.sign_agreement),
            percent(one.pairs.resolving_power),
            _show_epoch(one),
        )
        for one in subsets
    ]
    return markup.table(columns, rows)


def _show_gain(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:.3g}×"


def _show_epoch(scored: ScoredSet) -> str:
    epoch = scored.clearness.clear_epoch
    return "never" if epoch is None else f"{epoch} of {scored.curve_set.epochs}"


def _show_subset(full: ScoredSet, subset: ScoredSubset) -> Iterator[str]:
    verdict = subset.verdict
    yield (
        f'<div class="verdict {_KINDS[verdict.value]}"><b>'
        f"{markup.escape(_capitalize(str(verdict)))}</b>"
        f"{markup.escape(_capitalize(verdict.reason))}.</div>"
    )
    yield markup.tiles([
        ("gain in images looped", _show_gain(verdict.gain)),
        ("clear epoch, full set", _show_epoch(full)),
        ("clear epoch, subset", _show_epoch(subset)),
        *pair_tiles(subset.pairs),
        *rank_tiles(subset.ranks, is_share=True),
    ])
    drawn = "".join([
        _draw_curves(full, "the full set"),
        _draw_curves(subset, "the subset"),
        _draw_ranks(full, "the full set"),
        _draw_ranks(subset, "the subset"),
        _draw_scatter(full, subset),
        '<div class="stack">',
        _looped([full, subset]),
        _draw_settling(full, subset),
        "</div>",
    ])
    yield f'<div class="charts">{drawn}</div>'
    yield show_standings(
        [
            Standing(
                model,
                with_error(full.tests.accuracies[n], full.tests.errors[n]),
                with_error(subset.tests.accuracies[n], subset.tests.errors[n]),
                full.tests.accuracies[n],
                subset.tests.accuracies[n],
            )
            for n, model in enumerate(full.models)
        ],
        full="full set, %",
        subset="subset, %",
    )


def _capitalize(words: str) -> str:
    return words[:1].upper() + words[1:]


def _find_mark(scored: ScoredSet) -> Mark | None:
    epoch = scored.clearness.clear_epoch
    return None if epoch is None else Mark(epoch, f"clear from epoch {epoch}")


def _draw_curves(scored: ScoredSet, where: str) -> str:
    chart = charts.line_chart(
        [
            Series(model, curve.tolist())
            for model, curve in zip(scored.models, scored.curves, strict=True)
        ],
        label=f"Validation accuracy by epoch on {where}",
        mark=_find_mark(scored),
    )
    return figure(f"Learning curves on {where}", _describe_seeds(scored), chart)


def _describe_seeds(scored: ScoredSet) -> str:
    if scored.noise is None:
        return "Validation accuracy by epoch, best learning rate, one seed."
    deviation = 100 * scored.noise.variance**0.5
    return (
        "Validation accuracy by epoch, best learning rate, mean of the seeds, between "
        f"which it moves by {deviation:.2f} points (standard deviation)."
    )


def _draw_ranks(scored: ScoredSet, where: str) -> str:
    ranks = epochs.rank_by_epoch(scored.curves)
    chart = charts.bump_chart(
        [
            Series(model, own.tolist())
            for model, own in zip(scored.models, ranks, strict=True)
        ],
        label=f"Ranks by epoch on {where}",
        mark=_find_mark(scored),
    )
    tests = scored.tests
    return figure(
        f"Ranks on {where}",
        f"It tells {tests.num_decided} of {tests.num_pairs} pairs apart in the end; "
        "only these must be in order for it to be clear.",
        chart,
    )


def _draw_scatter(full: ScoredSet, subset: ScoredSubset) -> str:
    points = [
        Point(
            model,
            float(full.tests.accuracies[n]),
            float(subset.tests.accuracies[n]),
            float(Z_95 * full.tests.errors[n]),
            float(Z_95 * subset.tests.errors[n]),
        )
        for n, model in enumerate(full.models)
    ]
    chart = scatter.scatter(
        points,
        label="Final accuracy on the subset against that on the full set",
        x_label="full set, %",
        y_label="subset, %",
    )
    tau = fraction(subset.ranks.tau)
    return figure("Final accuracies", f"With 95 % intervals; τ-b = {tau}.", chart)


def _draw_settling(full: ScoredSet, subset: ScoredSubset) -> str:
    """Draw how alike each epoch's order is to the last one's."""
    series = [
        Series(words, [tau or 0 for tau in scored.clearness.taus])
        for words, scored in (("full set", full), ("subset", subset))
    ]
    chart = charts.tau_chart(series, label="τ-b with the last epoch's order, by epoch")
    return figure(
        "How the order settles",
        "τ-b of each epoch's order with the last one's, all pairs counted.",
        chart,
    )


def _looped(sets: Sequence[ScoredSet]) -> str:
    bars = []
    for number, scored in enumerate(sets):
        images, name = scored.clearness.images_looped, scored.curve_set.name
        words = "never clear"
        if images is not None:
            words = f"{images:,} (epoch {scored.clearness.clear_epoch})"
        bars.append(Bar(name, images or 0, words, color=min(number, 1)))
    chart = charts.bar_chart(bars, label="Images looped until the order is clear")
    return figure(
        "Images looped until the order is clear",
        "Training images × clear epoch; the full set first.",
        chart,
    )


def _show_runs(sets: Sequence[ScoredSet]) -> str:
    """List all runs: what was averaged, and what was passed over."""
    rows = []
    for scored in sets:
        one = scored.curve_set
        for model in one.models:
            used = one.best_runs(model)
            rows += [
                (
                    markup.escape(one.name),
                    markup.escape(model),
                    str(run.seed),
                    f"{run.learning_rate:g}",
                    f"{100 * run.final:.2f}",
                    "yes" if run in used else "no",
                )
                for run in one.runs
                if run.model == model
            ]
    columns = ["set", "model", "seed#", "learning rate#", "final accuracy, %#", "used"]
    return markup.disclose(f"All {len(rows)} runs", markup.table(columns, rows))
