"""What all pages of evaluations have: tiles, the table of models, warnings, words."""

from collections.abc import Sequence
from typing import NamedTuple

from transforms.evaluation.ranking import Interval, PairAgreement, RankAgreement
from transforms.reports import markup

_OPEN_ROWS = 40  # a longer table is folded

STYLE = """
.verdict { border-left: .35rem solid var(--soft); border-radius: .6rem; margin: 1rem 0;
  padding: .8rem 1.1rem; background: var(--card); overflow-wrap: anywhere; }
.verdict b { display: block; font-size: 1.25rem; }
.verdict.good { border-color: var(--good); background: var(--good-soft); }
.verdict.good b { color: var(--good); }
.verdict.bad { border-color: var(--bad); background: var(--bad-soft); }
.verdict.bad b { color: var(--bad); }
.verdict.doubt { border-color: var(--doubt); background: var(--doubt-soft); }
.verdict.doubt b { color: var(--doubt); }
.warnings { border: 1px solid var(--doubt); border-radius: .6rem; margin: 1.5rem 0;
  padding: .7rem 1.1rem; background: var(--doubt-soft); overflow-wrap: anywhere; }
.warnings ul { margin: .3rem 0 0 1.1rem; padding: 0; }
dl { margin: .6rem 0; } dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; color: var(--soft); } .up { color: var(--good); }
.down { color: var(--bad); } td.model { overflow-wrap: anywhere; }
details { margin: .6rem 0; } .keep { white-space: nowrap; }
.charts > :only-child { max-width: 36rem; }
@media (max-width: 40rem) { table { font-size: .8rem; } h1 { font-size: 1.35rem; } }
"""

_WORDS = (
    (
        "τ-b (Kendall)",
        "Pairs of models in the same order less those in another, as a share: 1 when "
        "both orders are alike, 0 when they have nothing to do with each other.",
    ),
    (
        "95 % interval of τ-b",
        "How far it would move had other models of this kind been at hand.",
    ),
    ("Spearman's rho", "The correlation of the ranks."),
    ("τ-b of the better half", "Among the models that are better on the full set."),
    (
        "regret",
        "What the model that is best on the subset lacks on the full set, against the "
        "best one there.",
    ),
    (
        "told apart",
        "A pair of models differs by more than chance (95 %), given the validation "
        "images and, with several seeds, the noise between them.",
    ),
    (
        "order kept",
        "Of the pairs that the full set tells apart, those with the same order on the "
        "subset.",
    ),
    (
        "resolving power",
        "Of the pairs that the full set tells apart, those that the subset tells apart "
        "the same way.",
    ),
    (
        "noise ceiling",
        "The τ-b that a set with so few validation images reaches when only chance "
        "stands between it and the full set.",
    ),
    (
        "clear epoch",
        "The first epoch from which on all pairs that a set tells apart in the end are "
        "in their final order, and stay so.",
    ),
    (
        "images looped, gain",
        "Training images × clear epoch; the gain is that of the full set divided by "
        "that of the subset.",
    ),
    (
        "has value",
        "The order of all pairs that the full set tells apart is kept, and the gain is "
        "above 1.",
    ),
)


class Standing(NamedTuple):
    """A model on both sets, as the table shows it."""

    model: str
    full_shown: str
    subset_shown: str
    full: float
    subset: float


def fraction(value: float | None, digits: int = 3) -> str:
    """Write a number from −1 to 1."""
    if value is None:
        return "-"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def with_error(accuracy: float, error: float) -> str:
    """Write an accuracy and half of its 95 % interval, in percent."""
    return f"{100 * accuracy:.2f} ± {196 * error:.2f}"


def show_tau(tau: float | None, interval: Interval | None) -> str:
    """Write τ-b with its interval."""
    if interval is None:
        return fraction(tau)
    if not interval.has_width:
        return f"{fraction(tau)} (in every resample)"
    low, high = interval
    return f"{fraction(tau)} ({fraction(low, 2)} to {fraction(high, 2)})"


def rank_tiles(ranks: RankAgreement, *, is_share: bool) -> list[tuple[str, object]]:
    """Tell how alike two orders are."""
    interval = ranks.tau_interval
    between = ""
    if interval is not None:
        between = f", 95 %: {fraction(interval.low, 2)} to {fraction(interval.high, 2)}"
        if not interval.has_width:
            between = ", in every resample"
    regret = f"{100 * ranks.regret:.2f} points" if is_share else f"{ranks.regret:.4g}"
    return [
        (f"τ-b{between}", fraction(ranks.tau)),
        ("Spearman's rho", fraction(ranks.spearman)),
        ("τ-b of the better half", fraction(ranks.top_half_tau)),
        ("regret of the best model", regret),
    ]


def pair_tiles(pairs: PairAgreement) -> list[tuple[str, object]]:
    """Tell what becomes of pairs."""
    kept = pairs.decided_full - len(pairs.contrary)
    return [
        (
            "order kept, of the pairs that the full set tells apart",
            f"{kept} of {pairs.decided_full}",
        ),
        ("resolving power", percent(pairs.resolving_power)),
        ("noise ceiling of τ-b", fraction(pairs.noise_ceiling)),
    ]


def show_standings(rows: Sequence[Standing], *, full: str, subset: str) -> str:
    """Make the table of models, the best on the full set first."""
    by_full = sorted(range(len(rows)), key=lambda n: (-rows[n].full, n))
    by_subset = sorted(range(len(rows)), key=lambda n: (-rows[n].subset, n))
    subset_rank = {number: rank for rank, number in enumerate(by_subset, 1)}
    cells = []
    for rank, number in enumerate(by_full, 1):
        row, other = rows[number], subset_rank[number]
        there = f"{other}{_show_move(rank - other)}"
        model = markup.escape(row.model)
        cells.append((str(rank), there, model, row.full_shown, row.subset_shown))
    columns = ["rank#", "there#", "model", f"{full}#", f"{subset}#"]
    table = markup.table(columns, cells)
    if len(rows) <= _OPEN_ROWS:
        return table
    return markup.disclose(f"All {len(rows):,} models", table)


def _show_move(move: int) -> str:
    if not move:
        return ""
    kind, sign = ("up", "▲") if move > 0 else ("down", "▼")
    return f' <span class="{kind}">{sign}{abs(move)}</span>'


def warn(warnings: Sequence[str]) -> str:
    """Show what to know before trusting the figures."""
    if not warnings:
        return ""
    items = markup.listing(map(markup.escape, warnings))
    return f'<div class="warnings"><b>Before trusting these figures</b>{items}</div>'


def explain() -> str:
    """Say what the words mean."""
    words = "".join(
        f"<dt>{markup.escape(word)}</dt><dd>{markup.escape(meaning)}</dd>"
        for word, meaning in _WORDS
    )
    return markup.disclose("What these words mean", f"<dl>{words}</dl>")


def figure(title: str, note: str, chart: str) -> str:
    """Put a chart below its title."""
    return (
        f"<figure><figcaption>{markup.escape(title)}<span>{markup.escape(note)}</span>"
        f"</figcaption>{chart}</figure>"
    )
