"""Distribute all classes at random over N groups of equal size (±1)."""

from dataclasses import dataclass

from transforms import seeds
from transforms.grouping.table import Grouping, GroupingRequest, require_num_groups


@dataclass(frozen=True, kw_only=True)
class Options:
    """This method has no options."""


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Distribute n classes over N groups in hash order.

    The first n mod N groups get ⌈n/N⌉ classes, the others ⌊n/N⌋.

    Raises:
      TooFewClassesError: there are fewer classes than groups.
      UsageError: `--num_groups` is missing or below 2.
    """
    del options
    num_groups = require_num_groups(request)
    wnids = sorted(
        (c.wnid for c in request.classes),
        key=lambda wnid: (seeds.order(request.seed, "group", wnid), wnid),
    )
    size, num_larger = divmod(len(wnids), num_groups)
    sizes = [size + (number < num_larger) for number in range(num_groups)]
    dealt = [number for number, size in enumerate(sizes) for _ in range(size)]
    return Grouping(assignment=dict(zip(wnids, dealt, strict=True)))
