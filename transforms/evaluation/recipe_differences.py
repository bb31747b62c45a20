"""Test which recipes of subsets differ in their τ-b.

All recipes rank the same models, so their errors are correlated: the intervals of
two recipes may overlap although their difference is significant.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from transforms.arrays import FloatArray, IntArray
from transforms.evaluation import discordance, ranking, significance
from transforms.evaluation.discordance import Interval


class Difference(NamedTuple):
    """The difference of two recipes.

    Attributes:
      first: name of a recipe.
      second: name of another.
      difference: mean τ-b of the first minus that of the second.
      interval: 95 % confidence interval of `difference`, for this pair alone.
      p_value: two-sided, after Holm's correction for the tested pairs.
    """

    first: str
    second: str
    difference: float
    interval: Interval
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant at 5 %."""
        return self.p_value < significance.ALPHA


class _Estimate(NamedTuple):
    """τ-b of one recipe.

    Attributes:
      tau: mean over draws.
      discordance: shape (models, models), mean over draws.
      draw_variance: estimated variance of τ-b between draws, beyond the noise of single
        models; None with one draw.
    """

    tau: float
    discordance: FloatArray
    draw_variance: float | None


def compare_recipes(
    full: FloatArray,
    recipes: Mapping[str, FloatArray],
    *,
    families: Sequence[str],
    against: str | None = None,
    pools_draws: bool = False,
) -> list[Difference]:
    """Test pairs of recipes for a difference of τ-b, paired by model.

    The variance is that over families of models, plus that over the draws of each
    recipe. Noise of single models, such as that of training with another seed, is part
    of the former. A bootstrap over models would overestimate it: copies of a model tie,
    so resamples have fewer untied pairs, and the standard error is 1.4 times too large.
    No p-value is less than that of a sign test in which all families agree, so with
    fewer than six families no difference is significant.

    Args:
      full: shape (seeds, models), accuracies on the full set; τ-b is averaged over its
        seeds.
      recipes: by name of the recipe, shape (draws, models), accuracies of each random
        repetition of the selection, the training, or both; or (draws, seeds, models)
        to average τ-b over the trainings of a selection.
      families: the family of each model.
      against: name of a recipe; only pairs with it are tested. None tests all pairs.
      pools_draws: whether the variance over draws is the same for all recipes, and is
        pooled over those with several draws. Otherwise it is 0 for one draw.

    Returns:
      The pairs, in the order of the recipes, except recipes whose τ-b is undefined.
      Empty with fewer than three families.

    Source: variance of pairs that share a cluster (Aronow, Samii and Assenova,
      Political Analysis 2015); addition of two clustered variances (Cameron, Gelbach
      and Miller, JBES 2011); Student's t with one degree of freedom fewer than
      families; Holm 1979.
    """
    from scipy import stats

    _, members = np.unique(list(families), return_inverse=True)
    num_families = int(members.max(initial=-1)) + 1
    if num_families < ranking.MIN_MODELS:
        return []
    estimates = {
        name: estimate
        for name, draws in recipes.items()
        if (estimate := _estimate(full, draws, members)) is not None
    }
    pooled = _pool(estimates.values()) if pools_draws else None
    draw_variances = {
        name: max(0.0, (e.draw_variance or 0.0) if pooled is None else pooled)
        / len(recipes[name])
        for name, e in estimates.items()
    }
    pairs = [
        pair
        for pair in itertools.combinations(estimates, 2)
        if against is None or against in pair
    ]
    differences, errors = np.empty(len(pairs)), np.empty(len(pairs))
    for number, (a, b) in enumerate(pairs):
        first, second = estimates[a], estimates[b]
        differences[number] = first.tau - second.tau
        errors[number] = np.sqrt(
            _find_variance(first.discordance - second.discordance, members)
            + draw_variances[a]
            + draw_variances[b]
        )
    size = np.abs(differences)
    ratio = np.divide(size, errors, out=np.where(size > 0, np.inf, 0), where=errors > 0)
    # A few families may agree by chance, which makes the estimated error too small.
    least = 2.0 ** (1 - num_families)
    p_values = significance.holm(
        np.maximum(2 * stats.t.sf(ratio, num_families - 1), least)
    )
    half = stats.t.ppf(1 - significance.TAIL, num_families - 1) * errors
    return [
        Difference(a, b, float(d), Interval(float(d - h), float(d + h)), float(p))
        for (a, b), d, h, p in zip(pairs, differences, half, p_values, strict=True)
    ]


def pool_draw_variance(
    full: FloatArray, recipes: Iterable[FloatArray], families: Sequence[str]
) -> float:
    """Estimate the variance of τ-b between draws, beyond the noise of single models.

    Args:
      full: shape (seeds, models), accuracies on the full set.
      recipes: of each recipe, shape (draws, models) or (draws, seeds, models),
        accuracies on its subsets.
      families: the family of each model; at least three different ones.

    Returns:
      The mean over the recipes with several draws, at least 0; 0 if there is none.
    """
    members = np.unique(list(families), return_inverse=True)[1]
    estimates = [_estimate(full, draws, members) for draws in recipes]
    return max(0.0, _pool(e for e in estimates if e is not None) or 0.0)


def _pool(estimates: Iterable[_Estimate]) -> float | None:
    known = [e.draw_variance for e in estimates if e.draw_variance is not None]
    return float(np.mean(known)) if known else None


def _estimate(
    full: FloatArray, draws: FloatArray, members: IntArray
) -> _Estimate | None:
    """Estimate τ-b of one recipe; return None if it is undefined.

    Args:
      full: shape (seeds, models), accuracies on the full set.
      draws: shape (draws, models) or (draws, seeds, models), accuracies on the recipe's
        subsets.
      members: shape (models,), the number of each model's family.
    """
    taus = [t for draw in draws if (t := ranking.mean_tau(full, draw)) is not None]
    if not taus:
        return None
    matrices = np.stack([discordance.find_mean_discordance(full, d) for d in draws])
    mean = matrices.mean(axis=0)
    num_draws, extra = len(draws), None
    if len(taus) > 1:
        noise = sum(_find_variance(matrix - mean, members) for matrix in matrices)
        extra = float(np.var(taus, ddof=1)) - noise / (num_draws - 1)
    return _Estimate(float(np.mean(taus)), mean, extra)


def _find_variance(discordant: FloatArray, members: IntArray) -> float:
    """Estimate the variance of τ, 1 − 2 × mean discordance, over families of models.

    Sums the products of all pairs of deviations that share a family, each once.

    Args:
      discordant: shape (models, models), symmetric, 0 on the diagonal.
      members: shape (models,), the number of each model's family; at least three.
    """
    num_models = len(discordant)
    num_pairs = num_models * (num_models - 1) / 2
    deviations = discordant - discordant.sum() / (2 * num_pairs)
    np.fill_diagonal(deviations, 0)
    is_member = np.eye(int(members.max()) + 1)[members]
    sums = is_member.T @ deviations @ is_member  # by two families
    within = np.diagonal(sums) / 2
    squares = (np.triu(sums, 1) ** 2).sum()
    shared = ((sums.sum(axis=1) - within) ** 2).sum() - squares
    # Few families may give less than independent sums, or even less than 0.
    least = squares + (within**2).sum()
    num_families = len(sums)
    correction = num_families / (num_families - 2)
    return float(4 * max(shared, least) / num_pairs**2 * correction)
