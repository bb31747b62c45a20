"""Analyse a designed study: compare recipes with each other and a noise ceiling.

Each recipe has one or more draws: random repetitions of its selection and its training.
Every training on a draw is compared with every training of the full set, and τ-b
averaged over these pairs, so that it can be compared with the τ-b between two trainings
of the full set, the noise ceiling. Models of one architecture that differ in their
training only are treated as dependent.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transforms.arrays import BoolArray, FloatArray
from transforms.evaluation import (
    curves,
    discordance,
    ranking,
    recipe_differences,
    significance,
)
from transforms.evaluation.discordance import Interval
from transforms.evaluation.ranking import TauEstimate
from transforms.evaluation.recipe_differences import Difference
from transforms.records import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The measurements of a recipe.

    Attributes:
      name: name of the recipe.
      factors: its level of each factor of the design, e.g. {"sampler": "uniform"}.
      num_images_seen: training images that a model sees, counted in every epoch.
      accuracies: shape (draws, seeds, models), final accuracies.
      balanced: shape (draws, seeds, models), final accuracies averaged over groups with
        equal weight; None if unknown.
      on_its_images: shape (draws, seeds, models), accuracies of the models of the full
        set, over its classes, on the validation images of a draw; None if unknown.
    """

    name: str
    factors: Mapping[str, str]
    num_images_seen: int
    accuracies: FloatArray
    balanced: FloatArray | None = None
    on_its_images: FloatArray | None = None


class Result(NamedTuple):
    """A recipe and its agreement with the full set.

    Attributes:
      recipe: the recipe.
      estimate: mean τ-b over draws, its interval over models and its deviation.
      tau_balanced: the same of the accuracies averaged over groups with equal weight;
        None if unknown.
      ceiling: mean τ-b between the full set's models on the validation images of a draw
        and those with another seed on all images; None with one seed, or if unknown.
      regret: accuracy lost on the full set by selecting the best model of a draw, 0 to
        1, averaged over draws.
      is_on_pareto_front: whether no other recipe has a higher τ-b for as few images or
        fewer.
    """

    recipe: Recipe
    estimate: TauEstimate
    tau_balanced: float | None
    ceiling: float | None
    regret: float
    is_on_pareto_front: bool


class Effect(NamedTuple):
    """The effect of a level of a factor on τ-b, with all other factors unchanged.

    Attributes:
      factor: name of the factor.
      level: the level.
      reference: the level that it is compared with, the commonest one.
      difference: τ-b of `level` minus τ-b of `reference`.
      interval: 95 % confidence interval of `difference` over architectures and draws.
      p_value: two-sided, after Holm's correction for all effects.
    """

    factor: str
    level: str
    reference: str
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """All results of a designed study.

    Attributes:
      models: names of the models.
      num_seeds: number of seeds on the full set.
      num_images_seen: training images that a model sees on the full set, in all epochs.
      ceiling: mean τ-b between two seeds of the full set; its `tau` is None with one
        seed.
      results: recipes, best first.
      differences: tests of all pairs of recipes.
      effects: effects of the factors on τ-b; empty if they cannot be separated.
    """

    models: tuple[str, ...]
    num_seeds: int
    num_images_seen: int
    ceiling: TauEstimate
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    effects: tuple[Effect, ...]

    def is_worse(self, name: str) -> bool:
        """Return whether a recipe is significantly worse than the best one."""
        best = self.results[0].recipe.name
        return any(
            d.is_significant and {d.first, d.second} == {best, name}
            for d in self.differences
        )


def analyse(
    models: Sequence[str],
    full: FloatArray,
    recipes: Sequence[Recipe],
    num_images_seen: int,
) -> Design:
    """Compare all recipes with the full set and with each other.

    Args:
      models: names of the models.
      full: shape (seeds, models), final accuracies on the full set.
      recipes: recipes whose models are trained.
      num_images_seen: training images that a model sees on the full set, in all epochs.
    """
    families = discordance.find_families(models)
    mean = average(full)
    estimates = [
        ranking.estimate_tau(full, list(r.accuracies), families=families)
        for r in recipes
    ]
    results = [
        Result(
            recipe=recipe,
            estimate=estimate,
            tau_balanced=None
            if recipe.balanced is None
            else ranking.mean(ranking.mean_tau(full, d) for d in recipe.balanced),
            ceiling=_find_own_ceiling(full, recipe.on_its_images),
            regret=float(
                np.mean([
                    ranking.top1_regret(mean, accuracies)
                    for accuracies in recipe.accuracies.reshape(-1, len(models))
                ])
            ),
            is_on_pareto_front=not any(
                _order(other) > _order(estimate)
                and cheaper.num_images_seen <= recipe.num_images_seen
                for cheaper, other in zip(recipes, estimates, strict=True)
            ),
        )
        for recipe, estimate in zip(recipes, estimates, strict=True)
    ]
    results.sort(key=lambda r: (-_order(r.estimate), r.recipe.num_images_seen))
    return Design(
        models=tuple(models),
        num_seeds=len(full),
        num_images_seen=num_images_seen,
        ceiling=_find_ceiling(full, families),
        results=tuple(results),
        differences=tuple(
            recipe_differences.compare_recipes(
                full,
                {r.name: r.accuracies for r in recipes},
                families=families,
                pools_draws=True,
            )
        ),
        effects=tuple(find_effects(full, recipes, families)),
    )


def _order(estimate: TauEstimate) -> float:
    return -2.0 if estimate.tau is None else estimate.tau


def _find_ceiling(full: FloatArray, families: Sequence[str]) -> TauEstimate:
    """Estimate τ-b between two seeds, averaged over all pairs of seeds.

    The interval is that of the seed with the lowest lower end.

    Args:
      full: shape (seeds, models), final accuracies.
      families: the architecture of each model.
    """
    estimates = [
        ranking.estimate_tau(np.delete(full, number, axis=0), [seed], families=families)
        for number, seed in enumerate(full)
        if len(full) > 1
    ]
    taus = [e.tau for e in estimates if e.tau is not None]
    if not taus:
        return TauEstimate(None, None, None)
    widest = min(estimates, key=lambda e: e.interval.low if e.interval else 1.0)
    return TauEstimate(float(np.mean(taus)), widest.interval, None)


def _find_own_ceiling(full: FloatArray, on_images: FloatArray | None) -> float | None:
    """Return the τ-b of a subset that differs from the full set in its images only.

    Args:
      full: shape (seeds, models), accuracies on all validation images.
      on_images: shape (draws, seeds, models), accuracies of the same models on the
        validation images of each draw; None if unknown.
    """
    if on_images is None or len(full) == 1:
        return None
    return ranking.mean(
        ranking.mean_tau(np.delete(full, number, axis=0), seed)
        for draw in on_images
        for number, seed in enumerate(draw)
    )


def find_effects(
    full: FloatArray, recipes: Sequence[Recipe], families: Sequence[str]
) -> list[Effect]:
    """Fit the main effects of the factors on τ-b by least squares over all draws.

    Levels that cannot be separated from earlier ones are omitted. An undefined τ-b
    counts as 0.

    Args:
      full: shape (seeds, models), accuracies on the full set.
      recipes: recipes, all with the same factors.
      families: the architecture of each model.

    Returns:
      One effect per level except the reference levels; empty with fewer than three
      architectures, or with too few draws to fit the levels.

    Source: the variance is that of a jackknife over architectures (Efron and Stein,
      Annals of Statistics 1981) plus that between draws, pooled over the recipes; the
      interval is Student's t.
    """
    from scipy import stats

    members = np.unique(list(families), return_inverse=True)[1]
    num_families = int(members.max(initial=-1)) + 1
    rows = [(recipe, draw) for recipe in recipes for draw in recipe.accuracies]
    if num_families < ranking.MIN_MODELS or not rows:
        return []
    names, columns = [], [np.ones(len(rows))]
    for name, column in _list_columns([recipe for recipe, _ in rows]):
        if np.linalg.matrix_rank(np.stack([*columns, column])) > len(columns):
            names.append(name)
            columns.append(column)
    design = np.stack(columns, axis=1)
    degrees = len(rows) - len(columns)
    if not names or degrees < 1:
        return []

    def fit(kept: BoolArray) -> FloatArray:
        taus = [ranking.mean_tau(full[:, kept], d[..., kept]) or 0.0 for _, d in rows]
        solution: FloatArray = np.linalg.lstsq(design, np.array(taus))[0][1:]
        return solution

    whole = fit(np.ones(len(members), bool))
    parts = np.stack([fit(members != number) for number in range(num_families)])
    # What all models share in a draw does not vary over architectures.
    draw_variance = recipe_differences.pool_draw_variance(
        full, [recipe.accuracies for recipe in recipes], families
    )
    weights = np.linalg.pinv(design)[1:]
    errors = np.sqrt(
        (num_families - 1) * parts.var(axis=0)
        + draw_variance * (weights**2).sum(axis=1)
    )
    size = np.abs(whole)
    ratio = np.divide(size, errors, out=np.where(size > 0, np.inf, 0), where=errors > 0)
    p_values = significance.holm(2 * stats.t.sf(ratio, num_families - 1))
    half = stats.t.ppf(1 - significance.TAIL, num_families - 1) * errors
    return [
        Effect(*name, float(d), Interval(float(d - h), float(d + h)), float(p))
        for name, d, h, p in zip(names, whole, half, p_values, strict=True)
    ]


def _list_columns(
    recipes: Sequence[Recipe],
) -> Iterator[tuple[tuple[str, str, str], FloatArray]]:
    """Yield (factor, level, reference) and the level's indicator, shape (recipes,).

    The reference is the commonest level of a factor; it is not yielded.
    """
    for factor in recipes[0].factors:
        levels = [recipe.factors[factor] for recipe in recipes]
        reference = max(dict.fromkeys(levels), key=levels.count)
        for level, _ in itertools.groupby(sorted(levels)):
            if level != reference:
                yield (
                    (factor, level, reference),
                    np.array([x == level for x in levels], float),
                )


class FinalAccuracies(NamedTuple):
    """The accuracies of all models after training on one set.

    Attributes:
      accuracies: shape (seeds, models).
      num_images_seen: training images that a model sees, counted in every epoch.
    """

    accuracies: FloatArray
    num_images_seen: int


def average(accuracies: FloatArray) -> FloatArray:
    """Average over the first axis; equal totals give equal means."""
    mean: FloatArray = np.round(accuracies.mean(axis=0), 12)
    return mean


def read_finals(paths: Sequence[str], models: Sequence[str]) -> FinalAccuracies:
    """Read the final accuracies of all models on one set.

    Args:
      paths: files with curves of the set.
      models: names of the models, in the order of the result.

    Raises:
      UsageError: the curves are invalid or belong to several sets.
    """
    sets, _ = curves.group_by_set(curves.read_rows(paths))
    if len(sets) != 1:
        raise UsageError(f"{', '.join(paths)}: contain {len(sets)} sets instead of 1")
    runs = [[run.final for run in sets[0].best_runs(model)] for model in models]
    return FinalAccuracies(np.array(runs).T, sets[0].train_images * sets[0].epochs)


def to_tables(design: Design) -> dict[str, list[dict[str, object]]]:
    """Return the rows of the tables "recipes", "differences" and "effects", by name."""
    return {
        "recipes": [
            {
                "recipe": result.recipe.name,
                **result.recipe.factors,
                "draws": len(result.recipe.accuracies),
                "images_seen": result.recipe.num_images_seen,
                "share_seen": result.recipe.num_images_seen / design.num_images_seen,
                **_describe_tau(result.estimate),
                "tau_balanced": result.tau_balanced,
                "ceiling": result.ceiling,
                "regret": result.regret,
                "is_worse_than_best": design.is_worse(result.recipe.name),
                "is_on_pareto_front": result.is_on_pareto_front,
            }
            for result in design.results
        ],
        "differences": [_flatten(row) for row in design.differences],
        "effects": [_flatten(row) for row in design.effects],
    }


def _describe_tau(estimate: TauEstimate) -> dict[str, float | None]:
    low, high = estimate.interval or (None, None)
    return {
        "tau": estimate.tau,
        "tau_low": low,
        "tau_high": high,
        "tau_sd_over_draws": estimate.deviation,
    }


def _flatten(row: Difference | Effect) -> dict[str, object]:
    values = row._asdict()
    low, high = values.pop("interval")
    return {**values, "low": low, "high": high}
