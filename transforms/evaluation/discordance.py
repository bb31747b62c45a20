"""Compute a confidence interval of τ over the choice of models, from discordant pairs.

Pairs that share a model or a model family are not independent. The variance of the
share of discordant pairs therefore exceeds the binomial variance by a factor, the
overdispersion. Dividing the number of pairs by this factor and computing the exact
binomial interval keeps the nominal coverage even for six models, where a bootstrap over
models covers less than half.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transforms.arrays import FloatArray, IntArray
from transforms.evaluation.significance import TAIL

_LIBRARIES = {"tf", "tv", "gluon", "legacy", "timm", "keras"}


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def find_discordance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Compute how far two rankings disagree on each pair of models.

    Args:
      first: shape (models,), any score; higher is better.
      second: shape (models,), as `first`.

    Returns:
      Shape (models, models): 1 where the orders are opposite, ½ where the models tie in
      one ranking only, else 0. Without ties, τ is 1 − 2 × the mean over pairs.
    """
    signs_1 = np.sign(first[:, np.newaxis] - first)
    signs_2 = np.sign(second[:, np.newaxis] - second)
    discordance: FloatArray = np.abs(signs_1 - signs_2) / 2
    return discordance


def find_mean_discordance(full: FloatArray, subset: FloatArray) -> FloatArray:
    """Average the discordance over all pairs of repetitions of both sets.

    Args:
      full: shape (models,) or (repetitions, models).
      subset: shape (models,) or (repetitions, models).

    Returns:
      Shape (models, models), as of `find_discordance`.
    """
    rows = [
        find_discordance(first, second)
        for first in np.atleast_2d(full)
        for second in np.atleast_2d(subset)
    ]
    mean: FloatArray = np.mean(rows, axis=0)
    return mean


def find_families(models: Sequence[str]) -> tuple[str, ...]:
    """Return the family of each model, by the letters that its name starts with.

    The name of a library at the start, such as "tf", and a trailing v (mobilenetv3) are
    ignored. A family whose name starts with that of another, or else ends with it,
    joins it, in one step: "inceptionresnet" and "bninception" join "inception". A name
    that does not start with a letter is a family by itself. 64 published ImageNet
    models have 13 families. A learning rate after "@" is ignored, and each width and
    depth is a family by itself: "cnn:16x3@0.001" and "cnn:16x3@0.003", but not
    "cnn:32x3@0.001".
    """
    stems = []
    for name in models:
        model = name.partition("@")[0]
        if ":" in model:
            stems.append(model)
            continue
        words = re.findall(r"[^\W\d_]+", model.lower()) if model[:1].isalpha() else []
        if len(words) > 1 and words[0] in _LIBRARIES:
            del words[0]
        stems.append(words[0].removesuffix("v") or words[0] if words else model)
    known = sorted(
        (s for s in set(stems) if len(s) > 1 and ":" not in s),
        key=lambda s: (len(s), s),
    )
    joins = {
        stem: next(
            (
                family
                for is_part in (str.startswith, str.endswith)
                for family in known
                if family != stem and ":" not in stem and is_part(stem, family)
            ),
            stem,
        )
        for stem in stems
    }
    return tuple(joins[stem] for stem in stems)


def bound_tau(discordance: FloatArray, families: Sequence[str]) -> Interval | None:
    """Compute a 95 % confidence interval of τ over the choice of models.

    Args:
      discordance: shape (models, models), from `find_discordance`; the mean over draws
        if there are several.
      families: the family of each model; models of a family are treated as dependent.

    Returns:
      The interval; None with fewer than two models.

    Source: Clopper and Pearson, Biometrika 1934, with the number of pairs divided by
      the overdispersion, which a jackknife over families estimates (Efron and Stein,
      Annals of Statistics 1981).
    """
    from scipy import stats

    num_models = len(discordance)
    num_pairs = num_models * (num_models - 1) / 2
    if num_pairs < 1:
        return None
    share = float(discordance.sum()) / 2 / num_pairs
    _, members = np.unique(list(families), return_inverse=True)
    # A jackknife over few families is unreliable and may give too small a variance; the
    # jackknife over models is a lower bound.
    excess = max(
        _find_overdispersion(discordance, units, share)
        for units in (members, np.arange(num_models))
    )
    trials = max(1.0, num_pairs / excess)
    hits = share * trials
    low = stats.beta.ppf(TAIL, hits, trials - hits + 1) if hits > 0 else 0.0
    high = 1.0
    if hits < trials:
        high = stats.beta.ppf(1 - TAIL, hits + 1, trials - hits)
    return Interval(1 - 2 * float(high), 1 - 2 * float(low))


def _find_overdispersion(
    discordance: FloatArray, members: IntArray, share: float
) -> float:
    """Estimate the overdispersion of the share of discordant pairs, at least 1.

    This is its jackknife variance divided by the variance for independent pairs.

    Args:
      discordance: shape (models, models), symmetric.
      members: shape (models,), the index of each model's family.
      share: share of the pairs that are discordant, 0 to 1.
    """
    is_member = np.eye(int(members.max()) + 1)[members]
    num_models = len(discordance)
    involved = discordance.sum(axis=1) @ is_member
    inside = ((is_member.T @ discordance) * is_member.T).sum(axis=1) / 2
    left = num_models - is_member.sum(axis=0)
    pairs_left = left * (left - 1) / 2
    usable = pairs_left > 0
    rest = (discordance.sum() / 2 - involved + inside)[usable] / pairs_left[usable]
    binomial = share * (1 - share) / (num_models * (num_models - 1) / 2)
    if len(rest) < 2 or binomial <= 0:
        return 1.0
    variance = (len(rest) - 1) * float(np.var(rest))
    return max(1.0, variance / binomial)
