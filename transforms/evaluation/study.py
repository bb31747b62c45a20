"""Rank recipes by the evaluations of their subsets, best first.

The best recipe has the highest τ-b; ties go to the recipe whose ranking converges after
fewer images. Recipes that are not significantly worse than the best are reported as
tied with it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from transforms.evaluation import discordance, recommendation
from transforms.evaluation.discordance import Interval
from transforms.evaluation.recommendation import Candidate
from transforms.records import UsageError, format_fraction


@dataclass(frozen=True, kw_only=True)
class RecipeScore:
    """Measurements of one recipe's subset.

    Attributes:
      name: name of the recipe.
      flags: the recipe's flags of the build job, by name.
      num_groups: number of groups, N.
      images_per_group: number of training images per group, M; None if groups keep all
        their images.
      train_images: number of training images of the subset.
      validation_images: number of validation images of the subset.
      tau: τ-b between the rankings on the subset and the full set; None if all models
        tie.
      tau_interval: 95 % confidence interval of `tau` over the choice of models.
      spearman: Spearman's rank correlation with the full set.
      regret: accuracy lost on the full set by selecting the subset's best model, 0 to
        1.
      resolving_power: as in `ranking.PairAgreement`.
      sign_agreement: as in `ranking.PairAgreement`.
      images_until_convergence_full: training images seen, counted in every epoch,
        until the ranking on the full set converges; None if it does not.
      images_until_convergence_subset: the same for the subset, whose ranking must
        keep the order of the same share of the same pairs.
      trained_on: images seen in the whole training on the subset, training images ×
        epochs.
      full_accuracies: final accuracy of each model on the full set, by name.
      accuracies: the same on the subset, for the same models.
      gain: `images_until_convergence_full` / `images_until_convergence_subset`; None
        if either is None.
      verdict: whether the subset is useful for ranking models.
      reason: the verdict with its reason, as a sentence.
      warnings: limitations of the measurements.
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
    images_until_convergence_full: int | None
    images_until_convergence_subset: int | None
    trained_on: int
    full_accuracies: Mapping[str, float]
    accuracies: Mapping[str, float]
    gain: float | None
    verdict: str
    reason: str
    warnings: tuple[str, ...]


class Ranked(NamedTuple):
    """A recipe and its rank.

    Attributes:
      rank: from 1 (best).
      score: measurements of the recipe.
      is_tied: whether its difference from the best recipe is not significant; False
        for the best recipe itself and for recipes without τ-b.
    """

    rank: int
    score: RecipeScore
    is_tied: bool


def rank(scores: Sequence[RecipeScore]) -> list[Ranked]:
    """Rank recipes, best first, and mark those that are tied with the best.

    Recipes are compared on the models that all of them share, paired by model; models
    of one architecture are treated as dependent.
    """
    ordered = sorted(scores, key=_order)
    tied = _find_tied([score for score in ordered if score.tau is not None])
    return [
        Ranked(number, score, score.name in tied)
        for number, score in enumerate(ordered, 1)
    ]


def _order(score: RecipeScore) -> tuple[float, float, str]:
    tau = -math.inf if score.tau is None else score.tau
    images = score.images_until_convergence_subset
    return -tau, math.inf if images is None else images, score.name


def _find_tied(ordered: Sequence[RecipeScore]) -> set[str]:
    """Return the names of the recipes that are not significantly worse than the first.

    Args:
      ordered: recipes with a τ-b, best first.
    """
    if not ordered:
        return set()
    shared = set.intersection(*(set(score.accuracies) for score in ordered))
    models = sorted(shared)
    choice = recommendation.recommend(
        np.array([ordered[0].full_accuracies[model] for model in models]),
        [
            Candidate(
                score.name,
                score.tau or 0,
                np.array([[score.accuracies[model] for model in models]]),
                score.trained_on,
            )
            for score in ordered
        ],
        families=discordance.find_families(models),
    )
    return {candidate.name for candidate in choice.tied} if choice else set()


def read_report(
    report: Mapping[str, Any],
    *,
    name: str,
    flags: Mapping[str, str],
    num_groups: int,
    images_per_group: int | None,
) -> RecipeScore:
    """Read the measurements of a recipe from the report.json of its evaluation.

    Args:
      report: parsed report.json of kind "curves", with exactly one subset.
      name: name of the recipe.
      flags: the recipe's flags of the build job, by name.
      num_groups: number of groups, N.
      images_per_group: number of training images per group, M; None if groups keep all
        their images.

    Raises:
      UsageError: the report is of another kind or version, or does not contain exactly
        one subset.
    """
    try:
        (subset,) = report["subsets"]
        ranks, pairs, interval = subset["ranks"], subset["pairs"], None
        if ranks["tau_interval"] is not None:
            interval = Interval(*ranks["tau_interval"])
        epoch = subset["full_convergence_epoch"]
        num_train = report["full"]["train_images"]
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
            images_until_convergence_full=None if epoch is None else epoch * num_train,
            images_until_convergence_subset=subset["images_until_convergence"],
            trained_on=subset["train_images"] * subset["epochs"],
            full_accuracies=_read_accuracies(report["full"]),
            accuracies=_read_accuracies(subset),
            gain=subset["gain"],
            verdict=subset["verdict"]["value"],
            reason=subset["verdict"]["text"],
            warnings=tuple(report["warnings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"the evaluation of {name} cannot be read ({type(error).__name__}: {error})"
        ) from error


def _read_accuracies(described: Mapping[str, Any]) -> dict[str, float]:
    return {model["model"]: model["accuracy"] for model in described["models"]}


def describe_best(ranked: Sequence[Ranked]) -> str:
    """Return a sentence on the best recipe and its ties, or on why none is best."""
    if not ranked:
        return "No recipe could be evaluated."
    best = ranked[0].score
    if best.tau is None:
        return "No recipe can be ranked: all models tie, so τ-b is undefined."
    taus = [item.score.tau for item in ranked if item.score.tau is not None]
    tau = format_fraction(best.tau)
    if len(ranked) == 1:
        return f"The only recipe, {best.name}, has τ-b {tau}; verdict: {best.verdict}."
    if best.tau <= 0:
        return (
            f"No recipe keeps the order of the models: the highest τ-b is {tau} "
            f"({best.name})."
        )
    if len(taus) > 1 and len(set(taus)) == 1:
        convergence = "the ranking does not converge on any subset"
        if best.images_until_convergence_subset is not None:
            fastest = [
                item.score.name
                for item in ranked
                if item.score.images_until_convergence_subset
                == best.images_until_convergence_subset
            ]
            convergence = (
                "the ranking converges after the fewest images on "
                f"{' and '.join(fastest)}"
            )
        return (
            "All recipes keep the order of the models equally well "
            f"(τ-b {tau}); {convergence}."
        )
    tied = [item.score.name for item in ranked if item.is_tied]
    sentence = f"{best.name} keeps the order of the models best (τ-b {tau})"
    return f"{sentence}{_describe_ties(tied, num_others=len(taus) - 1)}."


def _describe_ties(tied: Sequence[str], *, num_others: int) -> str:
    if not tied:
        return ", significantly better than all others" if num_others else ""
    if len(tied) == num_others > 1:
        names = "none of the others can"
    elif num_others > 1:
        names = f"{len(tied)} of the {num_others} others cannot"
    else:
        names = f"{tied[0]} cannot"
    return f", but {names} be distinguished from it: the difference is not significant"
