"""Recommend the best subset in words, with its ties and the cheapest of these.

`format_table` formats the comparison that a recommendation follows.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from transforms.arrays import FloatArray
from transforms.evaluation import recipe_differences
from transforms.records import list_names

_SHOWN = 12
_LEAST_SAVING = 0.95  # share of the best one's cost; a candidate below it is cheaper


class Candidate(NamedTuple):
    """A subset or grouping that may be recommended.

    Attributes:
      name: its name.
      tau: its mean τ-b with the full set.
      draws: shape (draws, models), accuracies of each random repetition.
      cost: what using it costs, in any unit.
      remark: a clause that a recommendation of it adds, e.g. on its noise ceiling.
    """

    name: str
    tau: float
    draws: FloatArray
    cost: float
    remark: str = ""


class Recommendation(NamedTuple):
    """The best candidate and those that are not significantly worse.

    Attributes:
      best: the candidate with the highest τ-b.
      tied: the others whose difference from it is not significant, best first.
      worse: the remaining candidates, best first.
    """

    best: Candidate
    tied: tuple[Candidate, ...]
    worse: tuple[Candidate, ...]

    def describe(self, unit: str) -> str:
        """Return the recommendation as a clause, with costs in `unit`."""
        best = self.best
        text = f"use {best.name}: τ-b {best.tau:.3f}{best.remark}"
        if self.tied:
            text += (
                f"; undecided between it and {_list(self.tied)}, whose differences are "
                "not significant"
            )
            cheapest = min(self.tied, key=lambda candidate: candidate.cost)
            if cheapest.cost < _LEAST_SAVING * best.cost:
                saved = 1 - cheapest.cost / best.cost
                text += (
                    f"; {cheapest.name} is cheaper by {saved:.0%} "
                    f"({cheapest.cost:,.0f} instead of {best.cost:,.0f} {unit})"
                )
        if self.worse:
            text += f"; significantly worse: {_list(self.worse)}"
        return text


def _list(candidates: Sequence[Candidate]) -> str:
    return list_names((f"{c.name} ({c.tau:.3f})" for c in candidates), _SHOWN)


def recommend(
    full: FloatArray, candidates: Sequence[Candidate], *, families: Sequence[str]
) -> Recommendation | None:
    """Choose the candidate with the highest τ-b, and find those that tie with it.

    Args:
      full: shape (models,), accuracies on the full set.
      candidates: the candidates; their names should be distinct for the reader.
      families: the family of each model. With fewer than six, all candidates tie.

    Returns:
      The recommendation; None without candidates.
    """
    if not candidates:
        return None
    best, *others = sorted(candidates, key=lambda c: -c.tau)
    differences = recipe_differences.compare_recipes(
        full[None],
        {str(number): c.draws for number, c in enumerate((best, *others))},
        families=families,
        against="0",
    )
    # The pairs are in the order of the candidates, so the best one is always the first.
    worse = {int(d.second) for d in differences if d.is_significant}
    return Recommendation(
        best,
        tuple(c for number, c in enumerate(others, 1) if number not in worse),
        tuple(c for number, c in enumerate(others, 1) if number in worse),
    )


def format_table(
    legend: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    advice: Sequence[str] = (),
) -> str:
    """Format a plain-text table with notes, a legend and a recommendation.

    Columns that are undefined in all rows are omitted.

    Args:
      legend: explanation of each column by its heading; the first column is aligned
        left, the others right.
      rows: the cells of each row; "-" is undefined.
      notes: lines below the table.
      advice: sentences of the recommendation.
    """
    columns = [c for c in zip(legend, *rows, strict=True) if set(c[1:]) != {"-"}]
    table = list(zip(*columns, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join([
            cells[0].ljust(widths[0]),
            *map(str.rjust, cells[1:], widths[1:]),
        ]).rstrip()
        for cells in table
    ]
    explained = [f"{name}: {legend[name]}" for name in table[0]]
    if advice:
        advice = [f"Recommendation: {advice[0]}", *advice[1:]]
    return "\n".join([*lines, *notes, "", *explained, "- means undefined", "", *advice])
