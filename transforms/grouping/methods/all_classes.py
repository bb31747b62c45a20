"""Make every class of the input its own group."""

from dataclasses import dataclass

from transforms.grouping.table import Grouping, GroupingRequest, TooFewClassesError
from transforms.records import UsageError

NUM_GROUPS = "classes"


@dataclass(frozen=True, kw_only=True)
class Options:
    """This method has no options."""


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Make every class its own group.

    Raises:
      TooFewClassesError: there are fewer than two classes.
      UsageError: `--num_groups` differs from the number of classes.
    """
    del options
    num_classes = len(request.classes)
    if num_classes < 2:
        raise TooFewClassesError(
            f"--grouping all_classes: the input holds {num_classes} class; a subset "
            "needs 2 groups"
        )
    if request.num_groups not in {None, num_classes}:
        raise UsageError(
            f"--num_groups {request.num_groups}: --grouping=all_classes makes a group "
            f"of each of the {num_classes} classes of the input; leave --num_groups out"
        )
    return Grouping(assignment={c.wnid: c.wnid for c in request.classes})
