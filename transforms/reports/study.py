"""A study's recipes in order → the page that tells which subset is best."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transforms.evaluation import study as study_ranking
from transforms.evaluation.study import Ranked
from transforms.reports import drawing, markup
from transforms.reports.evaluation_parts import (
    STYLE,
    explain,
    figure,
    fraction,
    percent,
    show_tau,
    warn,
)
from transforms.reports.study_figure import draw_study

_TITLE = "Which subset is best?"
_KINDS = {"has value": "up", "has none": "down", "cannot be told": ""}
_STYLE = """
.ranking table { font-size: .85rem; } .ranking a { color: inherit; }
.ranking th.number { white-space: normal; }
.ranking td:nth-child(2) { min-width: 10rem; }
.study { display: grid; gap: 1rem; margin: 1rem 0; max-width: 46rem; }
.note { color: var(--soft); font-size: .85rem; }
"""


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """What the page tells.

    Attributes:
      ranked: recipes in order.
      links: recipe → its evaluation's page.
      left_out: (recipe, why).
      waiting: names of recipes that are still to come.
      models: that were trained.
      num_seeds: of each.
      epochs: on the full set.
      subset_epochs: on the subsets.
      warnings: what to know before trusting the figures.
    """

    ranked: Sequence[Ranked]
    links: Mapping[str, str]
    left_out: Sequence[tuple[str, str]]
    waiting: Sequence[str]
    models: Sequence[str]
    num_seeds: int
    epochs: int
    subset_epochs: int
    warnings: Sequence[str]


def make_page(study: StudyPage) -> bytes:
    """Write the page."""
    return markup.page(
        _TITLE, _make_sections(study), style=drawing.STYLE + STYLE + _STYLE
    )


def _make_sections(study: StudyPage) -> Iterator[str]:
    yield f"<h1>{_TITLE}</h1>"
    seeds = f"{study.num_seeds} seed{'s' if study.num_seeds > 1 else ''}"
    epochs = f"{study.epochs} epochs"
    if study.subset_epochs != study.epochs:
        epochs += f" on the full set, {study.subset_epochs} on the subsets"
    yield (
        f'<p class="soft">{len(study.ranked)} recipes, {len(study.models)} models '
        f"({markup.escape(', '.join(study.models))}), {seeds}, {epochs}.</p>"
    )
    said = markup.escape(study_ranking.describe_best(study.ranked))
    yield f'<div class="verdict"><b>{said}</b>{_say_rule(study.ranked)}</div>'
    if study.waiting:
        count = len(study.waiting)
        yield (
            f'<div class="warnings"><b>{count} more to come</b> The same command goes '
            "on with them.</div>"
        )
    if drawn := draw_study(study.ranked):
        note = (
            "One mark a recipe, with the 95 % interval of τ-b and its rank in the "
            "table below; upper left is best."
        )
        yield f'<div class="study">{figure("τ-b against cost", note, drawn)}</div>'
    if study.ranked:
        yield _make_table(study)
    yield _show_left_out(study.left_out)
    yield warn(study.warnings)
    yield explain()


def _say_rule(ranked: Sequence[Ranked]) -> str:
    if len(ranked) < 2:
        return ""
    return (
        "Ranked by τ-b, then by fewer images looped. Where intervals overlap, "
        "recipes are marked as ties: another list of models could swap them."
    )


def _make_table(study: StudyPage) -> str:
    columns = [
        "rank#", "recipe", "verdict", "τ-b (95 %)#", "images looped#", "gain#", "N#",
        "M#", "images#", "Spearman#", "regret, points#", "resolving power#",
        "order kept#",
    ]  # fmt: skip
    rows = [_make_row(one, study.links) for one in study.ranked]
    looped = {one.score.looped_full for one in study.ranked}
    full = " or ".join(sorted(map(_show_looped, looped)))
    said = f"Images looped until the order is clear, on the full set: {full}."
    table = markup.table(columns, rows)
    return f'<p class="soft">{said}</p><div class="ranking">{table}</div>'


def _make_row(one: Ranked, links: Mapping[str, str]) -> tuple[str, ...]:
    score = one.score
    tied = '<br><span class="note">a tie with the best</span>' if one.is_tied else ""
    name = markup.escape(score.name)
    link = markup.escape(links[score.name])
    kind = _KINDS.get(score.verdict, "")
    return (
        str(one.rank),
        f'<a href="{link}">{name}</a>{tied}',
        f'<span class="keep {kind}">{markup.escape(score.verdict)}</span>',
        show_tau(score.tau, score.tau_interval),
        _show_looped(score.looped_subset),
        "-" if score.gain is None else f"{score.gain:.3g}×",
        f"{score.num_groups:,}",
        "all" if score.images_per_group is None else f"{score.images_per_group:,}",
        f"{score.train_images:,}",
        fraction(score.spearman),
        "-" if score.regret is None else f"{100 * score.regret:.2f}",
        percent(score.resolving_power),
        percent(score.sign_agreement),
    )


def _show_looped(images: int | None) -> str:
    return "never clear" if images is None else f"{images:,}"


def _show_left_out(left_out: Sequence[tuple[str, str]]) -> str:
    if not left_out:
        return ""
    rows = [(markup.escape(name), markup.escape(why)) for name, why in left_out]
    count = f"{len(rows)} recipe{'s' if len(rows) > 1 else ''} left out, and why"
    return markup.disclose(count, markup.table(["recipe", "why"], rows))
