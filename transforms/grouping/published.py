"""Group the classes of a published subset as its table in `class_lists` does."""

from dataclasses import dataclass

from transforms.grouping.table import Grouping, GroupingRequest, TooFewClassesError
from transforms.labels import class_lists
from transforms.options import flag
from transforms.records import UsageError, list_names


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a published grouping."""

    missing: str = flag(
        "classes of the grouping that the input lacks: error: fail; drop: group the "
        "others",
        default="error",
        choices=("error", "drop"),
    )


def group_as_published(
    name: str, request: GroupingRequest, options: Options
) -> Grouping:
    """Group the classes of a published subset; leave all other classes out.

    Args:
      name: name of the subset and of the grouping method.
      request: the classes of the input.
      options: options of the method.

    Raises:
      TooFewClassesError: fewer than two groups have classes in the input.
      UsageError: classes are missing, or `--num_groups` is another number.
    """
    group_of = class_lists.load_subset(name).group_of
    held = {c.wnid for c in request.classes}
    missing = sorted(group_of.keys() - held)
    described = (
        f"{len(missing)} of its {len(group_of)} classes are not in the input "
        f"({list_names(missing)})"
    )
    if missing and options.missing == "error":
        raise UsageError(
            f"--grouping {name}: {described}; give all of ImageNet, or "
            f"--{name}_missing drop"
        )
    assignment = {wnid: group_of.get(wnid) for wnid in sorted(held)}
    num_groups = len(set(assignment.values()) - {None})
    if num_groups < 2:
        raise TooFewClassesError(
            f"--grouping {name}: {num_groups} of its groups have classes in the input; "
            "a subset needs 2 groups"
        )
    if request.num_groups not in {None, num_groups}:
        raise UsageError(
            f"--num_groups {request.num_groups}: --grouping={name} makes {num_groups} "
            "groups of the classes of the input; leave --num_groups out"
        )
    return Grouping(
        assignment=assignment,
        names={group: group for group in group_of.values()},
        notes=(f"--grouping {name}: {described}",) if missing else (),
    )
