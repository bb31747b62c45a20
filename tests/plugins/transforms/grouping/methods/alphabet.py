"""Sort classes by name and cut them into N groups of equal size (±1)."""

from dataclasses import dataclass

from transforms.grouping.table import Grouping, require_num_groups
from transforms.options import flag


@dataclass(frozen=True, kw_only=True)
class Options:
    """How names are sorted."""

    reverse: bool = flag("sort from Z to A", default=False)


def group_classes(request, options):
    num_groups = require_num_groups(request)
    classes = sorted(request.classes, key=lambda c: c.name, reverse=options.reverse)
    groups = {
        c.wnid: number * num_groups // len(classes) for number, c in enumerate(classes)
    }
    return Grouping(assignment=groups)
