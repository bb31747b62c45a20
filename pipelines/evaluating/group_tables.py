"""Files of groups → the group of each of the 1000 classes, by the file's name."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines import classes
from transforms import paths
from transforms.grouping import manual
from transforms.records import UsageError
from transforms.scoring.coarse import make_group_of
from transforms.scoring.predictions import IntArray
from transforms.tables.groups import LEFT_OUT, GroupingRequest, make_table

_USUAL = "groups"  # the name that says nothing


def read_group_tables(files: Sequence[str]) -> dict[str, IntArray]:
    """Read tables of groups as --grouping=manual does; other classes are left out.

    Raises: UsageError: every table's problems.
    """
    official = classes.list_official_classes()
    tables: dict[str, IntArray] = {}
    problems: list[str] = []
    for path, name in zip(files, name_tables(files), strict=True):
        request = GroupingRequest(
            classes=official,
            num_groups=None,
            seed=0,
            images_per_group=None,
            min_validation_images=0,
            allow_small_validation=True,
            groups_file=path,
        )
        try:
            result = manual.group_classes(request, manual.Options(missing="drop"))
        except UsageError as error:
            problems.append(str(error))
            continue
        for note in result.notes:
            sys.stderr.write(f"{name}: {note}\n")
        table = make_table(official, result.assignment, result.names)
        group_of = make_group_of(table.label_of)
        tables[name] = np.where(group_of < 0, LEFT_OUT, group_of)
    if problems:
        raise UsageError("\n".join(problems))
    return tables


def name_tables(files: Sequence[str]) -> list[str]:
    """Name tables by their files, their datasets, or the folders of files named alike.

    Raises: UsageError: a file is given twice.
    """
    absolute = [Path(path).absolute() for path in files]
    if twice := [str(path) for path, count in Counter(absolute).items() if count > 1]:
        raise UsageError(f"--groups {twice[0]}: is given twice; give it once")
    names = [_name_table(path) for path in absolute]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in absolute]
    return names


def _name_table(path: Path) -> str:
    if path.stem != _USUAL:
        return path.stem
    if path.match(paths.GROUPS):  # a dataset's: …/small/1.0.0/__meta__/groups.csv
        return "/".join(path.parts[1:][-4:-2])
    return path.parent.name
