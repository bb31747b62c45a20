"""A table of difficulty → the page that shows it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.difficulty.table import NUM_BINS
from transforms.figures import Series, draw_histogram
from transforms.labels.classes import display_name
from transforms.reports import markup

_CLASSES_SHOWN = 20


def make_page(table: pa.Table, *, source: str, notes: Sequence[str] = ()) -> bytes:
    """Write the page.

    Args:
      table: as `difficulty_table.SCHEMA`.
      source: in a sentence, where the scores are from and what is right.
      notes: what must be known of them.
    """
    return markup.page(
        "Difficulty of images", _sections(table, source=source, notes=notes)
    )


def count_percents(table: pa.Table) -> list[int]:
    """Count images of each percent, 101 numbers."""
    counts: list[int] = np.bincount(
        table["percent"].to_numpy(), minlength=NUM_BINS
    ).tolist()
    return counts


def _sections(table: pa.Table, *, source: str, notes: Sequence[str]) -> Iterator[str]:
    p_correct = table["p_correct"].to_numpy()
    yield "<h1>Difficulty of images</h1>"
    yield f'<p class="soft">{markup.escape(source)}</p>'
    yield markup.tiles([
        ("images", f"{len(table):,}"),
        ("mean probability of the right answer", f"{p_correct.mean():.3f}"),
        ("below one half", f"{(p_correct < 0.5).mean():.1%}"),
        ("fullest bin", f"{max(count_percents(table)):,}"),
    ])
    if notes:
        yield markup.listing(markup.escape(note) for note in notes)
    yield "<h2>All images</h2>" + draw_histogram(
        [Series("images", count_percents(table))], caption="Images by difficulty"
    )
    folds = [fold for fold in pc.unique(table["fold"]).to_pylist() if fold]
    for fold in sorted(folds):
        own = table.filter(pc.equal(table["fold"], fold))
        yield f"<h2>Fold {fold}</h2>" + draw_histogram(
            [Series("images", count_percents(own))], caption=f"Images of fold {fold}"
        )
    yield from _classes(table)


def _classes(table: pa.Table) -> Iterator[str]:
    named = table.filter(pc.not_equal(table["wnid"], ""))
    if not len(named):
        return
    means = named.group_by("wnid").aggregate([
        ("p_correct", "mean"),
        ("p_correct", "count"),
    ])
    order = [("p_correct_mean", "ascending"), ("wnid", "ascending")]
    rows = means.sort_by(order).to_pylist()
    shown = min(_CLASSES_SHOWN, len(rows) // 2 or 1)
    for title, some in (
        ("Hardest classes", rows[:shown]),
        ("Easiest classes", rows[::-1][:shown]),
    ):
        lines = [
            [
                f"{markup.escape(display_name(row['wnid']))} "
                f"<code>{markup.escape(row['wnid'])}</code>",
                f"{row['p_correct_count']}",
                f"{row['p_correct_mean']:.3f}{markup.bar(row['p_correct_mean'])}",
            ]
            for row in some
        ]
        columns = ["class", "images#", "mean probability of the right answer"]
        yield f"<h2>{title}</h2>" + markup.table(columns, lines)
