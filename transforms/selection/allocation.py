"""Counts of strata → how many images each gives."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from transforms.records import UsageError
from transforms.selection import quotas
from transforms.selection.strata import EVERYWHERE, SamplePlan, Stratum

_SHORT_NAMED = 10


def allocate(
    counts: Iterable[tuple[tuple[int, str, int], int]], *, plan: SamplePlan
) -> dict[Stratum, int]:
    """Share a scope's images out over its classes, and these over their parts.

    Raises: UsageError: scopes that have too few images, all of them.
    """
    tree: dict[int, dict[str, dict[Stratum, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for key, count in counts:
        stratum = Stratum(*key)
        tree[stratum.label][stratum.wnid][stratum] = count
    labels = {EVERYWHERE} if plan.scope == "set" else set(plan.label_of.values())
    taken: dict[Stratum, int] = {}
    short: dict[int, int] = {}
    for label in sorted(labels):
        by_class = tree[label]
        available = {wnid: sum(parts.values()) for wnid, parts in by_class.items()}
        target = _find_target(label, sum(available.values()), plan)
        if target > sum(available.values()):
            short[label] = sum(available.values())
        shares = quotas.water_fill(available, target, seed=plan.seed)
        for wnid, share in shares.items():
            taken |= quotas.water_fill(by_class[wnid], share, seed=plan.seed)
    if short:
        raise UsageError(_describe_short(short, plan))
    return taken


def _find_target(label: int, available: int, plan: SamplePlan) -> int:
    if plan.images_per_group is None:
        return available
    return plan.images_per_group * (plan.num_groups if label == EVERYWHERE else 1)


def _describe_short(short: Mapping[int, int], plan: SamplePlan) -> str:
    """Say which scopes have too few images once the sampler has left some out."""
    least = min(short.values()) // (plan.num_groups if EVERYWHERE in short else 1)
    shown = ", ".join(
        f"{'the set' if label == EVERYWHERE else f'group {label}'} {count}"
        for label, count in sorted(short.items())[:_SHORT_NAMED]
    )
    return (
        f"--images_per_group {plan.images_per_group}: too many once the hardest images "
        f"are left out, for {len(short)} of {plan.num_groups} groups ({shown}); the "
        f"largest that works is {least}; lower it, or --difficulty_drop_hardest"
    )
