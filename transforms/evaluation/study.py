"""What evaluations say of many recipes → the recipes in order, best first.

The first is the one with the highest τ-b; of equal ones, that whose order is clear
after fewer images. Whoever's interval reaches that of the first cannot be told from it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms.evaluation.ranking import Interval
from transforms.records import UsageError

_ENOUGH_MODELS = 6  # that resamples of them may be trusted where all agree


@dataclass(frozen=True, kw_only=True)
class RecipeScore:
    """What was measured of one recipe's subset.

    Attributes:
      name: of the recipe.
      flags: the recipe, as flags of the build job.
      num_groups: N.
      images_per_group: M; None where groups have all that there are.
      train_images: of the subset.
      validation_images: of the subset.
      tau: τ-b with the full set; None when all models tie.
      tau_interval: 95 %, had other models been at hand.
      looped_full: images until the full set's order is clear; None: never.
      looped_subset: the same of the subset.
      trained_on: images that training went through in all, train images × epochs.
      num_models: that were ranked.
      warnings: what to know before trusting the figures.
    """

    name: str
    flags: Mapping[str, str]
    num_groups: int
    images_per_group: int | None
    train_images: int
    validation_images: int
    tau: float | None
    tau_interval: Interval | None
    spearman: float | None
    regret: float | None
    resolving_power: float | None
    sign_agreement: float | None
    looped_full: int | None
    looped_subset: int | None
    trained_on: int
    num_models: int
    gain: float | None
    verdict: str
    reason: str
    warnings: tuple[str, ...]


class Ranked(NamedTuple):
    """A recipe and its place.

    Attributes:
      rank: from 1.
      score: what was measured.
      is_tied: whether it cannot be told from the best one (the best is not tied).
    """

    rank: int
    score: RecipeScore
    is_tied: bool


def rank(scores: Sequence[RecipeScore]) -> list[Ranked]:
    """Put recipes in order, and say which cannot be told from the first.

    Source: ours; overlapping intervals are a cautious test, since the recipes share
      their models.
    """
    ordered = sorted(scores, key=_order)
    return [
        Ranked(number, score, number > 1 and _is_tied(ordered[0], score))
        for number, score in enumerate(ordered, 1)
    ]


def _order(score: RecipeScore) -> tuple[float, float, str]:
    tau = -math.inf if score.tau is None else score.tau
    looped = math.inf if score.looped_subset is None else score.looped_subset
    return -tau, looped, score.name


def _is_tied(best: RecipeScore, other: RecipeScore) -> bool:
    """Tell whether intervals overlap; without an interval nothing can be told."""
    if best.tau_interval is None or other.tau_interval is None:
        return other.tau is not None
    # A few models that keep their order keep it in every resample: that is no proof.
    is_proof = best.tau_interval.has_width or best.num_models >= _ENOUGH_MODELS
    return not is_proof or other.tau_interval.high >= best.tau_interval.low


def read_report(
    report: Mapping[str, Any],
    *,
    name: str,
    flags: Mapping[str, str],
    num_groups: int,
    images_per_group: int | None,
) -> RecipeScore:
    """Take what a study needs from the report of one evaluation by curves.

    Args:
      report: report.json, of one subset.
      name: of the recipe.
      flags: of the recipe.
      num_groups: N.
      images_per_group: M.
    Raises: UsageError: it is no such report.
    """
    try:
        (subset,) = report["subsets"]
        ranks, pairs, interval = subset["ranks"], subset["pairs"], None
        if ranks["tau_interval"] is not None:
            interval = Interval(*ranks["tau_interval"])
        return RecipeScore(
            name=name,
            flags=flags,
            num_groups=num_groups,
            images_per_group=images_per_group,
            train_images=subset["train_images"],
            validation_images=subset["validation_images"],
            tau=ranks["tau"],
            tau_interval=interval,
            spearman=ranks["spearman"],
            regret=ranks["regret"],
            resolving_power=pairs["resolving_power"],
            sign_agreement=pairs["sign_agreement"],
            looped_full=report["full"]["images_looped"],
            looped_subset=subset["images_looped"],
            trained_on=subset["train_images"] * subset["epochs"],
            num_models=ranks["num_models"],
            gain=subset["gain"],
            verdict=subset["verdict"]["value"],
            reason=subset["verdict"]["text"],
            warnings=tuple(report["warnings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"the evaluation of {name} cannot be read ({type(error).__name__}: {error})"
        ) from error


def describe_best(ranked: Sequence[Ranked]) -> str:
    """Say in a sentence which recipe is best, and who cannot be told from it."""
    if not ranked:
        return "No recipe could be evaluated."
    best = ranked[0].score
    if best.tau is None:
        return "No recipe can be ranked: all models tie, so that τ-b is not defined."
    taus = [one.score.tau for one in ranked if one.score.tau is not None]
    if len(taus) > 1 and len(set(taus)) == 1:
        clear = "on none it gets clear"
        if best.looped_subset is not None:
            clear = f"on {best.name} it is clear after the fewest images"
        order = "All recipes keep the order of the models alike"
        return f"{order} (τ-b {best.tau:.3f}); {clear}."
    tied = [one.score.name for one in ranked if one.is_tied]
    said = f"{best.name} keeps the order of the models best (τ-b {best.tau:.3f})"
    return f"{said}{_describe_ties(tied, num_others=len(taus) - 1)}."


def _describe_ties(tied: Sequence[str], *, num_others: int) -> str:
    if not tied:
        return ", and its interval is clear of all others" if num_others else ""
    if len(tied) == num_others > 1:
        return ", but none of the others can be told from it: their intervals overlap"
    whom = f"{len(tied)} of the {num_others} others" if num_others > 1 else tied[0]
    return f", but {whom} cannot be told from it: their intervals overlap"
