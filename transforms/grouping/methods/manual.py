"""Group classes by a CSV or YAML file, such as an earlier groups.csv."""

from dataclasses import dataclass

from transforms.grouping.groups_file import read_groups
from transforms.grouping.table import Grouping, GroupingRequest, MissingTableError
from transforms.options import flag

NUM_GROUPS = "table"
HAS_GIVEN_NAMES = True
TABLES = ("groups",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of grouping by a groups file."""

    missing: str = flag(
        "classes that the file does not mention: error: fail; drop: leave them out; "
        "other: put them into one more group",
        default="error",
        choices=("error", "drop", "other"),
    )


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Group the classes as the groups file specifies.

    Raises:
      MissingTableError: no groups file is given.
      UsageError: the file is invalid; the message lists up to twenty problems with
        their line numbers.
    """
    if request.groups_file is None:
        raise MissingTableError("--grouping=manual needs --groups FILE (CSV or YAML)")
    return read_groups(
        request.groups_file,
        request.classes,
        num_groups=request.num_groups,
        missing=options.missing,
        remedy=", or give --manual_missing drop or other",
    )
