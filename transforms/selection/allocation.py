"""The first of every stratum, with its count → the images that are chosen."""

from collections import defaultdict
from collections.abc import Mapping

from transforms.records import UsageError
from transforms.selection import firsts, quotas
from transforms.selection.firsts import Firsts, Positions
from transforms.selection.sample_plan import EVERYWHERE, SamplePlan, Stratum

_SHORT_NAMED = 10


def choose(ranked: Firsts, *, plan: SamplePlan) -> Positions:
    """Choose as many of each stratum as is its share, the first ones.

    Raises: UsageError: scopes that have too few images, all of them.
    """
    named = {plan.name_stratum(number): number for number in ranked.counts}
    counts = {stratum: ranked.counts[number] for stratum, number in named.items()}
    shares = allocate(counts, plan=plan)
    taken = {named[stratum]: share for stratum, share in shares.items()}
    return firsts.find_positions(firsts.merge([ranked], taken.__getitem__))


def allocate(counts: Mapping[Stratum, int], *, plan: SamplePlan) -> dict[Stratum, int]:
    """Share each scope's M out over its classes, and these shares over their parts.

    Raises: UsageError: scopes that have too few images, all of them.
    """
    tree: dict[int, dict[str, dict[Stratum, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for stratum, count in counts.items():
        tree[stratum.label][stratum.wnid][stratum] = count
    labels = {EVERYWHERE} if plan.scope == "set" else set(plan.label_of.values())
    target = plan.most_of_a_stratum
    taken: dict[Stratum, int] = {}
    short: dict[int, int] = {}
    for label in sorted(labels):
        by_class = tree[label]
        available = {wnid: sum(parts.values()) for wnid, parts in by_class.items()}
        if target > sum(available.values()):
            short[label] = sum(available.values())
        shares = quotas.water_fill(available, target, seed=plan.seed)
        for wnid, share in shares.items():
            taken |= quotas.water_fill(by_class[wnid], share, seed=plan.seed)
    if short:
        raise UsageError(_describe_short(short, plan))
    return taken


def _describe_short(short: Mapping[int, int], plan: SamplePlan) -> str:
    """Say which scopes have too few images once the sampler has left some out."""
    least = min(short.values()) // (plan.num_groups if EVERYWHERE in short else 1)
    where = f"all groups together ({short.get(EVERYWHERE)} images)"
    if EVERYWHERE not in short:
        shown = ", ".join(
            f"group {label} {count}"
            for label, count in sorted(short.items())[:_SHORT_NAMED]
        )
        where = f"{len(short)} of {plan.num_groups} groups ({shown})"
    return (
        f"--images_per_group {plan.images_per_group}: too many once the hardest images "
        f"are left out, for {where}; the largest that works is {least}; lower it, or "
        "--difficulty_drop_hardest"
    )
