"""What was measured of a subset → whether it has value, and a sentence that says why.

It has value if it keeps the order of every pair that the full set tells apart, and if
its own order is clear after fewer images. It has none if one of these is wrong by more
than chance. All else cannot be told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transforms.evaluation.convergence import Clearness
from transforms.evaluation.ranking import PairAgreement

Value = Literal["has value", "has none", "cannot be told"]

UNTOLD_SUFFIX = "with this validation size and these models"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
      models: their names.
      pairs: what becomes of them on the subset.
      full: when the full set is clear.
      subset: when the subset is.
      is_too_easy: whether both sets tell all models apart from the first epoch on.
    """

    models: Sequence[str]
    pairs: PairAgreement
    full: Clearness
    subset: Clearness
    is_too_easy: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a subset has value.

    Attributes:
      value: the verdict.
      reason: why, a sentence without its full stop.
      gain: images looped on the full set / on the subset; None where one of them is
        not clear.
    """

    value: Value
    reason: str
    gain: float | None

    def __str__(self) -> str:
        untold = self.value == "cannot be told"
        return f"{self.value} {UNTOLD_SUFFIX}" if untold else self.value


def find_gain(full: Clearness, subset: Clearness) -> float | None:
    """Divide the images looped on both sets; None where one is not clear."""
    if full.images_looped is None or subset.images_looped is None:
        return None
    return full.images_looped / subset.images_looped


def judge(evidence: Evidence) -> Verdict:
    """Judge a subset."""
    gain = find_gain(evidence.full, evidence.subset)
    if not evidence.pairs.decided_full:
        return Verdict(value="cannot be told", reason=_say_none(evidence), gain=gain)
    if fault := _find_fault(evidence, gain):
        return Verdict(value="has none", reason=fault, gain=gain)
    if doubt := _find_doubt(evidence):
        return Verdict(value="cannot be told", reason=doubt, gain=gain)
    pairs = evidence.pairs
    reason = (
        f"it keeps the order of all {pairs.decided_full} pairs that the full set tells "
        f"apart ({_count_same(pairs)} of them it tells apart itself), and "
        f"{_say_looped(evidence)}: {gain:.3g} times fewer"
    )
    return Verdict(value="has value", reason=reason, gain=gain)


def _say_none(evidence: Evidence) -> str:
    return (
        f"the list of models is not strict enough: none of its "
        f"{evidence.pairs.num_pairs} pairs differs by more than chance on the full "
        "set; add models that differ more, more seeds, or validation images"
    )


def _find_fault(evidence: Evidence, gain: float | None) -> str | None:
    """Say what is wrong by more than chance."""
    pairs = evidence.pairs
    if pairs.reversed:
        return (
            f"of the {pairs.decided_full} pairs that the full set tells apart, it "
            f"tells {len(pairs.reversed)} apart the other way round: "
            f"{_name_pairs(pairs.reversed, evidence.models)}"
        )
    if gain is not None and gain <= 1:
        return f"{_say_looped(evidence)}, which is no fewer"
    return None


def _find_doubt(evidence: Evidence) -> str | None:
    """Say what keeps a subset without fault from having value."""
    pairs = evidence.pairs
    if pairs.contrary:
        return (
            f"of the {pairs.decided_full} pairs that the full set tells apart, it has "
            f"{len(pairs.contrary)} in another order, by no more than chance: "
            f"{_name_pairs(pairs.contrary, evidence.models)}; more validation images "
            "or seeds would decide"
        )
    if evidence.subset.clear_epoch is None:
        return (
            f"it tells none of its {pairs.num_pairs} pairs apart, so that its order is "
            "never clear; give it more validation images or seeds"
        )
    if evidence.is_too_easy:
        return (
            "the list of models is not strict enough: all are so far apart that both "
            "sets rank them after the first epoch; add models that are closer"
        )
    return None


def _count_same(pairs: PairAgreement) -> int:
    return round((pairs.resolving_power or 0) * pairs.decided_full)


def _say_looped(evidence: Evidence) -> str:
    full, subset = evidence.full, evidence.subset
    return (
        f"its order is clear after {subset.images_looped:,} images (epoch "
        f"{subset.clear_epoch}), that of the full set after {full.images_looped:,} "
        f"(epoch {full.clear_epoch})"
    )


def _name_pairs(pairs: Sequence[tuple[int, int]], models: Sequence[str]) -> str:
    shown = ", ".join(f"{models[a]} over {models[b]}" for a, b in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"{shown}{more} on the full set"
