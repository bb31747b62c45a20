"""Find an image's ImageNet name and wnid from its file name and label in a dataset.

Datasets derived from ImageNet keep its file names, with the wnid appended
(`n01440764_10026_n01440764.JPEG`) or without, and number the 1000 classes in the order
of their wnids. If name and label both give the class, they must agree; otherwise a
dataset with another order of labels would go unnoticed.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from transforms.labels import classes
from transforms.records import UsageError

_CLASS_BEHIND = re.compile(r"(.+)_(n\d{8})")
_CLASS_BEFORE = re.compile(r"(n\d{8})_\d+")
_SUFFIX = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
_OFFICIAL_WITH_CLASS = re.compile(r"((n\d{8})_\d+|ILSVRC2012_val_\d{8})_(n\d{8})")


class ImageName(NamedTuple):
    """The parts of an image's file name."""

    name: str  # file name in ImageNet, with suffix
    wnid: str  # "" in the names of validation images


def parse(path: str) -> ImageName:
    """Split an image's file name into its stem and its class."""
    file = PurePosixPath(path)
    if behind := _CLASS_BEHIND.fullmatch(file.stem):
        return ImageName(f"{behind[1]}{file.suffix}", behind[2])
    before = _CLASS_BEFORE.fullmatch(file.stem)
    return ImageName(file.name, before[1] if before else "")


def to_key(path: str) -> str:
    """Return the key of an image: its file name without suffix and class behind it.

    Slashes or backslashes separate folders. Only an image's suffix is removed, and only
    a class behind an official name, as Hugging Face's copy appends it.
    """
    name = re.split(r"[\\/]", path)[-1]
    stem = _SUFFIX.sub("", name)
    official = _OFFICIAL_WITH_CLASS.fullmatch(stem)
    if official and official[2] in {None, official[3]}:
        return official[1]
    return stem


def find_wnid(
    by_name: str, label: object, *, names: Sequence[str] = (), where: str
) -> str:
    """Return the class of an image.

    Args:
      by_name: wnid in its file name; "" if there is none.
      label: label in its dataset: a number or a wnid; None if it has none.
      names: wnids of the numbers; empty: the 1000 in wnid order.
      where: location of the image, for messages.

    Raises: UsageError: the class is unknown, or name and label differ.
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


def find_wnids(names: Sequence[str], *, where: str) -> Sequence[str]:
    """Return the wnids of a dataset's labels, derived from the names of the labels.

    Args:
      names: names of the labels 0, 1, …; empty if the dataset has none.
      where: name of the dataset, for messages.

    Returns: Their wnids; empty if unknown or if they are the 1000 in wnid order.
    Raises: UsageError: they are other classes, or in another order.
    """
    if not names or all(map(classes.is_wnid, names)):
        return names
    known = classes.load_classes()
    if len(names) != len(known):
        raise UsageError(
            f"{where}: its {len(names)} labels are neither called by their wnids nor "
            f"the {len(known)} classes of ImageNet"
        )
    owners = _owners()
    num_known = 0
    for number, name in enumerate(names):
        own = set().union(*(owners.get(w.strip().lower(), ()) for w in name.split(",")))
        num_known += number in own
        if own and number not in own:
            raise UsageError(
                f"{where}: label {number} is called {name[:60]!r}, not "
                f"{known[number].name!r}; these labels are not the classes of "
                "ImageNet in the order of their wnids"
            )
    if num_known < len(known) / 2:
        raise UsageError(f"{where}: its labels are not the classes of ImageNet")
    return ()


@cache
def _owners() -> Mapping[str, set[int]]:
    """Return, for each word, the classes that it may stand for."""
    owners: dict[str, set[int]] = {}
    for info in classes.load_classes():
        for word in (info.name, *info.lemmas):
            owners.setdefault(word.lower(), set()).add(info.class_index)
    return owners


@cache
def _wnids() -> tuple[str, ...]:
    return tuple(info.wnid for info in classes.load_classes())
