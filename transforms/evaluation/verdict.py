"""Judge whether a subset is useful for ranking models.

A subset is useful if noise explains every pair whose order it does not keep, among the
pairs that are significant on the full set; if at least half of these pairs are also
significant on the subset; and if its ranking of these pairs converges after
significantly fewer images. It is not useful if it significantly reverses such a pair,
loses more pairs than noise explains, or, by the confidence interval, does not converge
after fewer images; this verdict requires several seeds on both sets. Otherwise, or if
the full set converges in its first epoch, the verdict is inconclusive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transforms.evaluation.ceilings import Ceiling
from transforms.evaluation.convergence import Convergence
from transforms.evaluation.discordance import Interval
from transforms.evaluation.ranking import PairAgreement
from transforms.records import list_names

Value = Literal["useful", "not useful", "inconclusive"]

_SHOWN = 3
_ROUNDING = 1e-9
_LEAST_RESOLVED = 0.5  # share of the pairs; with fewer, any subset seems to keep them


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Measurements that a verdict depends on.

    Attributes:
      models: names of the models.
      pairs: agreement of the full set and the subset on pairs of models, with Holm's
        correction.
      ceiling: agreement of a subset whose only error is noise.
      full: convergence of the full set's ranking, to the share `ceiling.least_kept` of
        the pairs that are significant there.
      subset: convergence of the subset's ranking, to the same share of the same pairs.
      gain_interval: 95 % confidence interval of the gain.
      has_seeds: whether the variance between seeds is known on both sets.
    """

    models: Sequence[str]
    pairs: PairAgreement
    ceiling: Ceiling
    full: Convergence
    subset: Convergence
    gain_interval: Interval | None
    has_seeds: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a subset.

    Attributes:
      value: the verdict; "inconclusive" means that the evidence is insufficient.
      reason: why, as a clause without capital or full stop.
      gain: images seen until convergence on the full set, divided by those on the
        subset; None if either set does not converge.
      gain_interval: 95 % confidence interval of `gain`; None if no pair is significant
        on the full set.
    """

    value: Value
    reason: str
    gain: float | None
    gain_interval: Interval | None

    def __str__(self) -> str:
        if self.value == "inconclusive":
            return f"{self.value} with this validation size and these models"
        return self.value


def find_gain(full: Convergence, subset: Convergence) -> float | None:
    """Return the ratio of images seen until convergence, full set to subset.

    None if either set does not converge.
    """
    if full.images_seen is None or subset.images_seen is None:
        return None
    return full.images_seen / subset.images_seen


def widen(interval: Interval | None, gain: float | None) -> Interval | None:
    """Extend the confidence interval of a gain to contain the gain.

    A bootstrap sample of models, in which a pair may occur several times, tends to
    converge later than all models together, so the percentile interval can miss the
    gain.
    """
    if interval is None or gain is None:
        return interval
    return Interval(min(interval.low, gain), max(interval.high, gain))


def is_within_ceiling(pairs: PairAgreement, ceiling: Ceiling) -> bool:
    """Return whether noise explains all significant pairs whose order is not kept."""
    return (pairs.sign_agreement or 0) >= (ceiling.least_kept or 0) - _ROUNDING


def judge(evidence: Evidence) -> Verdict:
    """Judge whether a subset is useful for ranking models, as the module describes."""
    value, reason = _decide(evidence)
    gain = find_gain(evidence.full, evidence.subset)
    return Verdict(
        value=value, reason=reason, gain=gain, gain_interval=evidence.gain_interval
    )


def _decide(evidence: Evidence) -> tuple[Value, str]:
    pairs = evidence.pairs
    if not pairs.significant_full:
        return "inconclusive", (
            "no pair of models differs significantly on the full set; add models that "
            "differ more, seeds, or validation images"
        )
    if fault := _find_fault(evidence):
        if evidence.has_seeds:
            return "not useful", fault
        return "inconclusive", (
            f"{fault}; with one seed per model on a set, another seed may change that: "
            "train with two seeds or more"
        )
    if doubt := _find_doubt(evidence):
        return "inconclusive", doubt
    return "useful", (
        f"{_describe_kept(evidence)} ({_count_resolved(pairs)} of them are significant "
        f"on the subset), and {_describe_convergence(evidence)}"
    )


def _find_fault(evidence: Evidence) -> str | None:
    """Return why the subset is not useful; None if the evidence does not show that."""
    pairs, least = evidence.pairs, evidence.ceiling.least_kept
    if pairs.reversed:
        return (
            f"on {len(pairs.reversed)} of the {pairs.significant_full} pairs that are "
            "significant on the full set it contradicts the full set significantly: "
            f"{_name_pairs(pairs.reversed, evidence.models)}"
        )
    if least is not None and not is_within_ceiling(pairs, evidence.ceiling):
        return (
            f"{_describe_kept(evidence)}, fewer than noise explains (at least "
            f"{least:.1%}); its order differs on "
            f"{_name_pairs(pairs.contrary, evidence.models)}"
        )
    if evidence.gain_interval is not None and evidence.gain_interval.high <= 1:
        return f"{_describe_convergence(evidence)}, which is no fewer"
    return None


def _find_doubt(evidence: Evidence) -> str | None:
    """Return what prevents a verdict in favour of the subset; None if nothing does.

    Call this only if `_find_fault` returns None.
    """
    pairs, interval = evidence.pairs, evidence.gain_interval
    if (pairs.resolving_power or 0) < _LEAST_RESOLVED:
        return (
            f"only {_count_resolved(pairs)} of the {pairs.significant_full} pairs that "
            "are significant on the full set are significant on the subset; use more "
            "validation images or seeds"
        )
    if evidence.full.convergence_epoch == 1:
        return (
            "the ranking on the full set converges in the first epoch; add models "
            "with closer accuracies"
        )
    if interval is not None and interval.low < 1:  # the gain exceeds `low`
        return (
            f"{_describe_convergence(evidence)}, which may be by chance; add models, "
            "or evaluate more often than once an epoch"
        )
    return None


def _count_resolved(pairs: PairAgreement) -> int:
    return round((pairs.resolving_power or 0) * pairs.significant_full)


def _describe_kept(evidence: Evidence) -> str:
    pairs, kept = evidence.pairs, evidence.ceiling.kept
    num_kept = pairs.significant_full - len(pairs.contrary)
    expected = "" if kept is None else f", where noise alone would leave {kept:.1%}"
    return (
        f"it keeps the order of {num_kept} of the {pairs.significant_full} pairs that "
        f"are significant on the full set{expected}"
    )


def describe_interval(interval: Interval) -> str:
    """Return an interval of the gain in words; it may be unbounded."""
    low, high = interval
    if math.isinf(high):
        return f"at least {low:.3g}"
    return f"{low:.3g} to {high:.3g}"


def _describe_convergence(evidence: Evidence) -> str:
    full, subset = evidence.full, evidence.subset
    gain = find_gain(full, subset)
    if gain is None:
        return "its ranking of these pairs does not converge"
    between = ""
    if evidence.gain_interval is not None:
        between = f" (95 %: {describe_interval(evidence.gain_interval)})"
    return (
        f"its ranking of these pairs converges after {subset.images_seen:,} images "
        f"(epoch {subset.convergence_epoch}), that of the full set after "
        f"{full.images_seen:,} (epoch {full.convergence_epoch}): a gain of "
        f"{gain:.3g}{between}"
    )


def _name_pairs(pairs: Sequence[tuple[int, int]], models: Sequence[str]) -> str:
    names = (f"{models[a]} over {models[b]}" for a, b in pairs)
    return f"{list_names(names, _SHOWN)} on the full set"
