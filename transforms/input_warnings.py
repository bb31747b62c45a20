"""Summarise warnings about missing images, doubtful labels and unusual archives.

A layout yields an `Observation` per file or archive. The index summarises them to one
`InputWarning` per kind, or rejects the input. Warnings contain no absolute paths,
because datasets record them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from transforms.records import SHOWN, UsageError

_EXAMPLES = 3


class Kind(NamedTuple):
    """A kind of observation.

    Attributes:
      text: template of the warning; {count} is the number of cases, {examples} lists
        the first ones.
      is_missing: whether images are missing, which --require_complete rejects.
      is_refused: whether the input is rejected; the text then includes a remedy.
    """

    text: str
    is_missing: bool = False
    is_refused: bool = False


KINDS = {
    "empty_archive": Kind("empty archives: {count} ({examples})", is_missing=True),
    "no_end_mark": Kind(
        "archives without an end mark: {count} ({examples}); their members are "
        "whole, but the last ones may be missing",
        is_missing=True,
    ),
    "long_end": Kind(
        "archives that end with more zeros than tar writes by default: {count} "
        "({examples}); unless they were packed with a large --blocking-factor, the "
        "last members may be missing"
    ),
    "data_behind_end": Kind(
        "archives with data after their end, which is not read: {count} ({examples})"
    ),
    "no_images": Kind(
        "folders or archives without images: {count} ({examples})", is_missing=True
    ),
    "declared": Kind(
        "files with more or fewer images than the dataset declares: {count} "
        "({examples})",
        is_missing=True,
    ),
    "unlisted": Kind(
        "label tables that list more images than were found: {count} ({examples})",
        is_missing=True,
    ),
    "links": Kind(
        "images in tars that are links to other files, which are not read: {count} "
        "({examples}); pack the archives again with --dereference --hard-dereference",
        is_missing=True,
    ),
    "outside_classes": Kind(
        "images outside class folders, left out: {count} ({examples})", is_missing=True
    ),
    "deeper": Kind(
        "images in folders inside class folders, left out: {count} ({examples}); move "
        "them up into their class folder",
        is_missing=True,
    ),
    "validation_in_train": Kind(
        "training images that are named as validation images of ImageNet: {count} "
        "({examples}); do not evaluate on ImageNet's validation images"
    ),
    "train_in_validation": Kind(
        "validation images that are named as training images of ImageNet: {count} "
        "({examples}); models trained on ImageNet have seen them"
    ),
    "test_images": Kind(
        "images that are named as test images of ImageNet, whose labels are not "
        "public: {count} ({examples})"
    ),
    "made_keys": Kind(
        "images without a file name (image.path), named by file and row: {count} "
        "({examples}); other copies may give them other names"
    ),
    "other_class": Kind(
        "images whose name gives another class than their folder, archive or table: "
        "{count} ({examples}); the class of the name is used"
    ),
    "other_class_all": Kind(
        "folders or archives in which the name of every image gives another class: "
        "{count} ({examples}); rename them, or the images",
        is_refused=True,
    ),
    "no_key": Kind(
        "image names that cannot be keys: {count} ({examples}); use only letters, "
        "digits, - and _, at most 90: rename the files, or delete copies",
        is_refused=True,
    ),
}


class Observation(NamedTuple):
    """An unusual property of one file or archive of an input."""

    kind: str  # a key of KINDS
    example: str  # the file, relative to the input, and details
    number: int = 1  # of cases


class InputWarning(NamedTuple):
    """A warning about an input, for the terminal and the dataset card."""

    text: str
    is_missing: bool = False  # as in `Kind`


def combine(observations: Iterable[Observation]) -> list[Observation]:
    """Keep the first ten observations of each kind, and add up the others' counts.

    The last observation kept of a kind includes the counts of those dropped.
    """
    first: dict[str, list[Observation]] = {}
    rest: Counter[str] = Counter()
    for observed in observations:
        kept = first.setdefault(observed.kind, [])
        if len(kept) < SHOWN:
            kept.append(observed)
        else:
            rest[observed.kind] += observed.number
    return [
        observed._replace(number=observed.number + rest[kind] * (observed is kept[-1]))
        for kind, kept in first.items()
        for observed in kept
    ]


def summarise(observations: Iterable[Observation]) -> list[InputWarning]:
    """Return one warning per kind of observation, in the order of `KINDS`.

    Raises:
      UsageError: there are observations of a kind for which the input is rejected; one
        line per kind.
    """
    by_kind: dict[str, list[Observation]] = {}
    for observed in combine(observations):
        by_kind.setdefault(observed.kind, []).append(observed)
    warnings, problems = [], []
    for name, kind in KINDS.items():
        if name in by_kind:
            text = _format(kind, by_kind[name])
            if kind.is_refused:
                problems.append(text)
            else:
                warnings.append(InputWarning(text, kind.is_missing))
    if problems:
        raise UsageError("\n".join(problems))
    return warnings


def _format(kind: Kind, observations: Sequence[Observation]) -> str:
    shown = [o.example for o in observations[: SHOWN if kind.is_refused else _EXAMPLES]]
    count = sum(observed.number for observed in observations)
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return kind.text.format(count=f"{count:,}", examples=", ".join(shown) + more)
