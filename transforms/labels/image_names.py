"""An image's file name and its label in a dataset → its name and wnid in ImageNet.

Datasets made of ImageNet keep its names with the class behind them
(`n01440764_10026_n01440764.JPEG`) or without, and labels that count the 1000 classes in
the order of their wnids. Where both tell the class they must agree: nothing else would
show that the labels of a dataset have another order.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from transforms.labels import classes
from transforms.records import UsageError

_CLASS_BEHIND = re.compile(r"(.+)_(n\d{8})")
_CLASS_BEFORE = re.compile(r"(n\d{8})_\d+")


class ImageName(NamedTuple):
    """What a file name tells."""

    name: str  # as ImageNet has it, with the suffix
    wnid: str  # "" in the names of validation images


def parse(path: str) -> ImageName:
    """Take the class from an image's file name, and off its end."""
    file = PurePosixPath(path)
    if behind := _CLASS_BEHIND.fullmatch(file.stem):
        return ImageName(f"{behind[1]}{file.suffix}", behind[2])
    before = _CLASS_BEFORE.fullmatch(file.stem)
    return ImageName(file.name, before[1] if before else "")


def find_wnid(
    by_name: str, label: object, *, names: Sequence[str] = (), where: str
) -> str:
    """Return the class of an image.

    Args:
      by_name: what its name says; "" when it does not.
      label: in its dataset: a number or a wnid; None when it has none.
      names: of the numbers, where they are wnids; else the 1000 in wnid order.
      where: the image's place, for messages.
    Raises: UsageError: nothing tells the class, or name and label differ.
    """
    if label is None:
        if by_name:
            return by_name
        raise UsageError(f"{where}: neither a label nor the name tells the class")
    by_label = _read_label(label, names or _wnids(), where)
    if by_name not in {"", by_label}:
        said = f"label {label} is {by_label}" if label != by_label else f"it is {label}"
        raise UsageError(
            f"{where}: {said}, and its name says {by_name}; these labels are not the "
            "classes of ImageNet in the order of their wnids"
        )
    return by_label


def _read_label(label: object, names: Sequence[str], where: str) -> str:
    if isinstance(label, str) and classes.is_wnid(label):
        return label
    if isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    raise UsageError(
        f"{where}: the label is {str(label)[:40]!r}, neither a wnid nor 0 to "
        f"{len(names) - 1}"
    )


@cache
def _wnids() -> tuple[str, ...]:
    return tuple(info.wnid for info in classes.load_classes())
