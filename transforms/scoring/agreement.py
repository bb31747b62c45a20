"""Models on the full set and on a subset → how far the subset keeps their ranking."""

from typing import NamedTuple

import numpy as np

from transforms.scoring import deciding, pairs, ranking
from transforms.scoring.pairs import PairTests
from transforms.scoring.ranking import FloatArray, Interval


class RankAgreement(NamedTuple):
    """How alike two orders of the same models are.

    Attributes:
      tau: Kendall's τ-b; None when all models tie on a set.
      tau_interval: 95 %, had other models been at hand.
      spearman: of the ranks.
      top_half_tau: τ-b among the better half on the full set.
      regret: what the model that is best on the subset lacks on the full set.
    """

    num_models: int
    tau: float | None
    tau_interval: Interval | None
    spearman: float | None
    top_half_tau: float | None
    regret: float


class PairAgreement(NamedTuple):
    """What becomes of the pairs that the full set tells apart.

    Attributes:
      num_pairs: of models.
      decided_full: of these, told apart by the full set.
      decided_subset: told apart by the subset.
      sign_agreement: share of `decided_full` with the same sign on the subset.
      resolving_power: share of `decided_full` decided the same on the subset.
      noise_ceiling: the τ that the subset would reach were only its noise in the way.
      contrary: decided on the full set, with another sign (or none) on the subset, as
        (better, worse) on the full set.
      reversed: those of `contrary` that the subset decides the other way.
    """

    num_pairs: int
    decided_full: int
    decided_subset: int
    sign_agreement: float | None
    resolving_power: float | None
    noise_ceiling: float | None
    contrary: tuple[tuple[int, int], ...]
    reversed: tuple[tuple[int, int], ...]


def compare_ranks(
    full: FloatArray, subset: FloatArray, *, seed: int = 0
) -> RankAgreement:
    """Compare two orders of models.

    Args:
      full: shape (models,), any score that is better when it is higher.
      subset: shape (models,).
      seed: what the interval's draws are hashed from.
    """
    return RankAgreement(
        num_models=len(full),
        tau=ranking.kendall_tau(full, subset),
        tau_interval=ranking.bootstrap_tau(full, subset, seed=seed),
        spearman=ranking.spearman(full, subset),
        top_half_tau=ranking.top_half_tau(full, subset),
        regret=ranking.top1_regret(full, subset),
    )


def compare_pairs(
    full: PairTests, subset: PairTests, *, ceiling: float | None = None
) -> PairAgreement:
    """Compare which pairs two sets tell apart.

    Args:
      full: the pairs on the full set.
      subset: the same models' on the subset.
      ceiling: the noise ceiling; without it that of the accuracies.
    """
    signs = np.sign(subset.accuracies[:, np.newaxis] - subset.accuracies)
    is_contrary = (full.decisions == 1) & (signs != 1)
    is_reversed = (full.decisions == 1) & (subset.decisions == -1)
    if ceiling is None:
        differences = full.accuracies[:, np.newaxis] - full.accuracies
        ceiling = pairs.expected_tau(differences, subset.spread)
    return PairAgreement(
        num_pairs=full.num_pairs,
        decided_full=full.num_decided,
        decided_subset=subset.num_decided,
        sign_agreement=deciding.sign_agreement(full.decisions, subset.accuracies),
        resolving_power=deciding.resolving_power(full.decisions, subset.decisions),
        noise_ceiling=ceiling,
        contrary=tuple((int(a), int(b)) for a, b in np.argwhere(is_contrary)),
        reversed=tuple((int(a), int(b)) for a, b in np.argwhere(is_reversed)),
    )
