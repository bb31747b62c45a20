"""Counts and a target → how many to take from each: the one allocation of the project.

Water-filling: every place gives the same amount, until it has no more to give.
Validation top-ups, stratified samples and the difficulty cap are all this function.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from transforms import seeds

Place = TypeVar("Place", bound=Hashable)


def water_fill(
    counts: Mapping[Place, int], target: int, *, seed: int
) -> dict[Place, int]:
    """Share a target out so that the shares are as equal as the counts allow.

    With f(t) = Σ min(count, t), every place gives min(count, t*) where t* is the
    largest t with f(t) ≤ target; the rest, target − f(t*), is given one each by the
    places that have more, first by hash. A larger target never takes from a place.

    Args:
      counts: how much each place has.
      target: how much to take altogether; all there is when the counts sum to less.
      seed: orders the places for the rest.
    Returns: For each place how much to take; sums to min(target, Σ counts).
    Source: METHODS of the difficulty cap: Gao (2021), made exact.
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
    """Find the largest t with Σ min(count, t) ≤ target; the maximum if all fit."""
    below = 0
    for position, count in enumerate(ascending):
        remaining = len(ascending) - position
        if below + count * remaining > target:
            return max((target - below) // remaining, 0)
        below += count
    return ascending[-1] if ascending else 0
