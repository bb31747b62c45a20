"""Allocate quotas by water-filling.

A place is a group, class or part that contributes images to a quota. Every place
contributes the same number of images, or all of them if it has fewer.
Validation top-ups, stratified samples and the difficulty sampler use `water_fill`.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeVar

from transforms import seeds
from transforms.records import UsageError, list_names
from transforms.sampling import top_k
from transforms.sampling.plan import EVERYWHERE, SamplePlan, Stratum
from transforms.sampling.top_k import Positions, TopK

Place = TypeVar("Place", bound=Hashable)


def water_fill(
    counts: Mapping[Place, int], target: int, *, seed: int
) -> dict[Place, int]:
    """Distribute a target over places as equally as their counts allow.

    With f(t) = Σ min(count, t), every place gets min(count, t*), where t* is the
    largest t with f(t) ≤ target. Of the places with a larger count, the first
    target − f(t*) by hash get one more. A larger target never reduces a place.

    Args:
      counts: number available at each place.
      target: total to take; if the counts sum to less, everything is taken.
      seed: seed of the hashes of the places.

    Returns:
      The number to take from each place; sums to min(target, Σ counts).

    Source: Gao (2021) caps the number of images per probability bin; meeting the target
      exactly is this project's addition.
    """
    level = _level(sorted(counts.values()), target)
    shares = {place: min(count, level) for place, count in counts.items()}
    rest = target - sum(shares.values())
    able = [place for place, count in counts.items() if count > level]
    able.sort(
        key=lambda place: (seeds.order(seed, "remainder", str(place)), str(place))
    )
    for place in able[: max(rest, 0)]:
        shares[place] += 1
    return shares


def _level(ascending: list[int], target: int) -> int:
    """Return the largest t with Σ min(count, t) ≤ target; at most the largest count."""
    below = 0
    for position, count in enumerate(ascending):
        remaining = len(ascending) - position
        if below + count * remaining > target:
            return max((target - below) // remaining, 0)
        below += count
    return ascending[-1] if ascending else 0


def validation_top_up(
    num_validation: Mapping[int, int], num_train: Mapping[int, int], target: int
) -> dict[int, int]:
    """Compute how many training images each group holds out for validation.

    The missing validation images are shared equally among the groups, as far as these
    have training images. The result depends on neither the sampler nor the seed.

    Args:
      num_validation: number of official validation images of each group, by label.
      num_train: number of training images of each group that may be held out, by
        label; all but M if training has priority.
      target: total number of validation images to reach.

    Returns:
      The number of images that each group holds out, by label; the sum is less than
      the deficit if there are too few images.
    """
    deficit = max(target - sum(num_validation.values()), 0)
    # The seed only determines which groups hold out one more than others.
    return water_fill(num_train, deficit, seed=0)


def choose(ranked: TopK, *, plan: SamplePlan) -> Positions:
    """Allocate quotas to strata, and select the first images of each stratum.

    Args:
      ranked: the first images of each stratum.
      plan: the sampling plan.

    Returns:
      The positions of the selected images.

    Raises:
      UsageError: some groups, or the whole set, have too few images; the message lists
        them.
    """
    named = {plan.name_stratum(number): number for number in ranked.counts}
    counts = {stratum: ranked.counts[number] for stratum, number in named.items()}
    shares = allocate(counts, plan=plan)
    taken = {named[stratum]: share for stratum, share in shares.items()}
    return top_k.find_positions(top_k.merge([ranked], taken.__getitem__))


def allocate(counts: Mapping[Stratum, int], *, plan: SamplePlan) -> dict[Stratum, int]:
    """Split the quota of each group, or of the whole set, among its strata.

    It is split among the classes first if the plan stratifies by class, then among
    their parts, each time as equally as the numbers of images allow.

    Args:
      counts: number of images of each stratum.
      plan: the sampling plan.

    Returns:
      The number of images to select from each stratum.

    Raises:
      UsageError: some groups, or the whole set, have too few images; the message lists
        them.
    """
    tree: dict[int, dict[str, dict[Stratum, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for stratum, count in counts.items():
        tree[stratum.label][stratum.wnid][stratum] = count
    labels = {EVERYWHERE} if plan.scope == "set" else set(plan.label_of.values())
    target = plan.max_of_a_stratum
    taken: dict[Stratum, int] = {}
    short: dict[int, int] = {}
    for label in sorted(labels):
        by_class = tree[label]
        available = {wnid: sum(parts.values()) for wnid, parts in by_class.items()}
        if target > sum(available.values()):
            short[label] = sum(available.values())
        shares = water_fill(available, target, seed=plan.seed)
        for wnid, share in shares.items():
            taken |= water_fill(by_class[wnid], share, seed=plan.seed)
    if short:
        raise UsageError(_describe_short(short, plan))
    return taken


def _describe_short(short: Mapping[int, int], plan: SamplePlan) -> str:
    """Describe the scopes with too few images after the sampler's exclusions."""
    least = min(short.values()) // (plan.num_groups if EVERYWHERE in short else 1)
    where = f"all groups together ({short.get(EVERYWHERE)} images)"
    if EVERYWHERE not in short:
        shown = list_names(
            f"group {label} {count}" for label, count in sorted(short.items())
        )
        where = f"{len(short)} of {plan.num_groups} groups ({shown})"
    return (
        f"--images_per_group {plan.images_per_group}: too many for {where}, after the "
        f"sampler has excluded images; the largest that works is {least}"
    )
