"""Judge whether a subset is useful for ranking models.

A subset has value if it keeps the order of every pair that is significant on the full
set and its ranking converges after fewer images. It has no value if it
significantly reverses such a pair, or if its ranking converges only after as many
images or more. Otherwise the evidence is insufficient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transforms.evaluation.convergence import Convergence
from transforms.evaluation.ranking import PairAgreement

Value = Literal["has value", "has none", "cannot be told"]

UNTOLD_SUFFIX = "with this validation size and these models"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Measurements that a verdict depends on.

    Attributes:
      models: names of the models.
      pairs: agreement of the full set and the subset on pairs of models.
      full: convergence of the ranking on the full set.
      subset: convergence of the ranking on the subset.
      is_too_easy: whether all pairs are significant, with their final order, on both
        sets from the first epoch.
    """

    models: Sequence[str]
    pairs: PairAgreement
    full: Convergence
    subset: Convergence
    is_too_easy: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a subset.

    Attributes:
      value: the verdict; "cannot be told" means that the evidence is insufficient.
      reason: why, as a clause without capital or full stop.
      gain: images seen until convergence on the full set, divided by those on the
        subset; None if either set does not converge.
    """

    value: Value
    reason: str
    gain: float | None

    def __str__(self) -> str:
        is_open = self.value == "cannot be told"
        return f"{self.value} {UNTOLD_SUFFIX}" if is_open else self.value


def find_gain(full: Convergence, subset: Convergence) -> float | None:
    """Return the ratio of images seen until convergence, full set to subset.

    None if either set does not converge.
    """
    if full.images_seen is None or subset.images_seen is None:
        return None
    return full.images_seen / subset.images_seen


def judge(evidence: Evidence) -> Verdict:
    """Judge whether a subset is useful for ranking models, as the module describes."""
    gain = find_gain(evidence.full, evidence.subset)
    pairs = evidence.pairs
    if not pairs.decided_full:
        reason = (
            f"the list of models is not strict enough: none of its {pairs.num_pairs} "
            "pairs is significant on the full set; add models that differ more, seeds, "
            "or validation images"
        )
        return Verdict(value="cannot be told", reason=reason, gain=gain)
    if fault := _find_fault(evidence, gain):
        return Verdict(value="has none", reason=fault, gain=gain)
    if doubt := _find_doubt(evidence):
        return Verdict(value="cannot be told", reason=doubt, gain=gain)
    num_same = round((pairs.resolving_power or 0) * pairs.decided_full)
    reason = (
        f"it keeps the order of all {pairs.decided_full} pairs that are significant on "
        f"the full set ({num_same} of them are significant on the subset), and "
        f"{_describe_convergence(evidence)}: {gain:.3g} times fewer"
    )
    return Verdict(value="has value", reason=reason, gain=gain)


def _find_fault(evidence: Evidence, gain: float | None) -> str | None:
    """Return why the subset has no value; None if the evidence does not show that."""
    pairs = evidence.pairs
    if pairs.reversed:
        return (
            f"on {len(pairs.reversed)} of the {pairs.decided_full} pairs that are "
            "significant on the full set it contradicts the full set significantly: "
            f"{_name_pairs(pairs.reversed, evidence.models)}"
        )
    if gain is not None and gain <= 1:
        return f"{_describe_convergence(evidence)}, which is no fewer"
    return None


def _find_doubt(evidence: Evidence) -> str | None:
    """Return what prevents a verdict in favour of the subset; None if nothing does.

    Call this only if `_find_fault` returns None.
    """
    pairs = evidence.pairs
    if pairs.contrary:
        return (
            f"on {len(pairs.contrary)} of the {pairs.decided_full} pairs that are "
            "significant on the full set it has another order, but not significantly: "
            f"{_name_pairs(pairs.contrary, evidence.models)}; more validation images "
            "or seeds would decide"
        )
    if evidence.subset.convergence_epoch is None:
        return (
            f"none of its {pairs.num_pairs} pairs is significant, so that its ranking "
            "does not converge; use more validation images or seeds"
        )
    if evidence.is_too_easy:
        return (
            "the list of models is not strict enough: all pairs are significant on "
            "both sets from the first epoch; add models that are closer"
        )
    return None


def _describe_convergence(evidence: Evidence) -> str:
    full, subset = evidence.full, evidence.subset
    return (
        f"its ranking converges after {subset.images_seen:,} images (epoch "
        f"{subset.convergence_epoch}), that of the full set after "
        f"{full.images_seen:,} (epoch {full.convergence_epoch})"
    )


def _name_pairs(pairs: Sequence[tuple[int, int]], models: Sequence[str]) -> str:
    shown = ", ".join(f"{models[a]} over {models[b]}" for a, b in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"{shown}{more} on the full set"
