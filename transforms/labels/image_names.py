"""Determine the key and the class of an image from its file name and its label.

An image has the same key in every layout: its file name in ImageNet without the suffix,
e.g. n01440764_10026. Case, folders, the image suffix and a wnid that some copies append
(n01440764_10026_n01440764.JPEG) are ignored. Integer labels index the 1000 classes in
wnid order. If name and label both give a class, they must agree; otherwise labels in
another order would go unnoticed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from transforms.labels import classes
from transforms.records import UsageError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_SUFFIXES = re.compile(
    f"(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})+$", re.IGNORECASE
)
# Matches nearly all names and captures key and wnid, without the slower steps below.
USUAL = re.compile(r"((n[0-9]{8})_[0-9]{1,9})(?:_n[0-9]{8})?\.JPEG")
_TRAINING = re.compile(r"(n\d{8})(_\d+)(?:_n\d{8})?", re.IGNORECASE)
_VALIDATION = re.compile(r"ILSVRC2012_val(_\d{8})(?:_(n\d{8}))?", re.IGNORECASE)
_OTHER = re.compile(r".+_(n\d{8})", re.IGNORECASE)


class ImageName(NamedTuple):
    """The key and the class that an image's file name contains."""

    key: str  # the name in ImageNet, without the suffix
    wnid: str  # "" in the names of validation images


def parse(path: str) -> ImageName:
    """Parse the key and the class from a path or file name."""
    if match := USUAL.fullmatch(path):
        return ImageName(match[1], match[2])
    file = path.replace("\\", "/").rpartition("/")[2]
    stem = _SUFFIXES.sub("", file) or file
    if match := _TRAINING.fullmatch(stem):
        wnid = match[1].lower()
        return ImageName(f"{wnid}{match[2]}", wnid)
    if match := _VALIDATION.fullmatch(stem):
        return ImageName(f"ILSVRC2012_val{match[1]}", (match[2] or "").lower())
    behind = _OTHER.fullmatch(stem)
    return ImageName(stem, behind[1].lower() if behind else "")


def to_key(path: str) -> str:
    """Return the key of an image from its path, file name or key."""
    return parse(path).key


def find_wnid(
    by_name: str, label: object, *, names: Sequence[str] = (), where: str
) -> str:
    """Return the wnid of an image.

    Args:
      by_name: wnid in the image's file name; "" if there is none.
      label: label in the dataset, an integer or a wnid; None if there is none.
      names: wnid of each integer label; if empty, the 1000 classes in wnid order.
      where: location of the image, for messages.

    Raises:
      UsageError: the class is unknown, or name and label give different classes.
    """
    if label is None:
        if by_name:
            return by_name
        raise UsageError(f"{where}: neither a label nor the name gives the class")
    by_label = _read_label(label, names or _wnids(), where)
    if by_name not in {"", by_label}:
        said = f"label {label} is {by_label}" if label != by_label else f"it is {label}"
        raise UsageError(
            f"{where}: {said}, and its name says {by_name}; these labels are not the "
            "classes of ImageNet in the order of their wnids; if they are numbers, "
            "give their order with --class_list"
        )
    return by_label


def _read_label(label: object, names: Sequence[str], where: str) -> str:
    if isinstance(label, str) and classes.is_wnid(label.lower()):
        return label.lower()
    if isinstance(label, int) and 0 <= label < len(names) and names[label]:
        return names[label]
    hint = ""
    if label == len(names):
        hint = "; if the labels start at 1, give --class_list with - in line 1"
    raise UsageError(
        f"{where}: the label is {str(label)[:40]!r}, neither a wnid nor 0 to "
        f"{len(names) - 1}{hint}"
    )


class NumberLabels(NamedTuple):
    """Integer labels of a dataset without label names.

    Attributes:
      numbers: labels of images whose file names do not contain a class.
      num_images: number of these images.
      confirmed: labels of images whose file names contain the same class.
    """

    numbers: frozenset[int]
    num_images: int
    confirmed: frozenset[int] = frozenset()


class LabelReader:
    """Converts the labels of one part's images to wnids; collects integer labels.

    Args:
      class_list: wnid of each integer label, from --class_list; empty if not given.
    """

    def __init__(self, class_list: Sequence[str] = ()) -> None:
        self._class_list = class_list
        self._numbers: set[int] = set()
        self._confirmed: set[int] = set()
        self._num_images = 0

    def find_wnid(
        self, by_name: str, label: object, *, names: Sequence[str] = (), where: str
    ) -> str:
        """Return the wnid of an image; record its label if it is an unnamed integer.

        Args:
          by_name: as in the function `find_wnid`.
          label: as there.
          names: as there; ignored if there is a class list.
          where: as there.

        Raises:
          UsageError: the class is unknown, or name and label give different classes.
        """
        names = self._class_list or names
        wnid = find_wnid(by_name, label, names=names, where=where)
        if isinstance(label, int) and not names:
            if by_name:
                self._confirmed.add(label)
            else:
                self._numbers.add(label)
                self._num_images += 1
        return wnid

    def list_numbers(self) -> Iterator[NumberLabels]:
        """Yield the integer labels collected so far, if there are any."""
        if self._numbers or self._confirmed:
            numbers, confirmed = frozenset(self._numbers), frozenset(self._confirmed)
            yield NumberLabels(numbers, self._num_images, confirmed)


def find_wnids(names: Sequence[str], *, where: str) -> Sequence[str]:
    """Return the wnid of each label of a dataset, derived from the label names.

    Args:
      names: names of the labels 0, 1, …; empty if the dataset has none.
      where: path of the dataset, for messages.

    Returns:
      The wnid of each label; empty if the labels have no names.

    Raises:
      UsageError: the names are neither wnids nor the names of the 1000 classes in wnid
        order.
    """
    if not names or all(map(classes.is_wnid, names)):
        return names
    known = classes.load_classes()
    remedy = "give their wnids with --class_list"
    if len(names) != len(known):
        raise UsageError(
            f"{where}: its {len(names)} labels are neither named by their wnids nor "
            f"the {len(known)} classes of ImageNet; {remedy}"
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
                f"ImageNet in the order of their wnids; {remedy}"
            )
    if num_known < len(known) / 2:
        raise UsageError(
            f"{where}: its labels are not the classes of ImageNet; {remedy}"
        )
    return _wnids()


@cache
def _owners() -> Mapping[str, set[int]]:
    """Return the indices of the classes that each name or lemma may denote."""
    owners: dict[str, set[int]] = {}
    for info in classes.load_classes():
        for word in (info.name, *info.lemmas):
            owners.setdefault(word.lower(), set()).add(info.class_index)
    return owners


@cache
def _wnids() -> tuple[str, ...]:
    return tuple(info.wnid for info in classes.load_classes())
