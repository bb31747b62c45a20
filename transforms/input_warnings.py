"""Warnings about an input: images that should be there, labels in doubt, odd archives.

A layout yields an `Observation` per file or archive; the index sums them up to one
`InputWarning` per kind. No text has an absolute path, because datasets record it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from transforms.records import list_names

_EXAMPLES = 3


class Kind(NamedTuple):
    """A kind of observation.

    Attributes:
      text: the warning; {count} is their number, {examples} the first.
      is_missing: whether images are missing, which --require_complete refuses.
    """

    text: str
    is_missing: bool = False


KINDS = {
    "empty_archive": Kind("empty archives: {count} ({examples})", is_missing=True),
    "no_end_mark": Kind(
        "archives without an end mark: {count} ({examples}); their members are whole, "
        "but the last ones may be missing",
        is_missing=True,
    ),
    "long_end": Kind(
        "archives that end with more zeros than tar writes by default: {count} "
        "({examples}); unless they were packed with a large --blocking-factor, the "
        "last members may be missing"
    ),
    "data_behind_end": Kind(
        "archives with data behind their end that no member contains: {count} "
        "({examples})"
    ),
    "no_images": Kind("folders without images: {count} ({examples})", is_missing=True),
    "links": Kind(
        "images in tars that are links to other files, which are not read: {count} "
        "({examples}); pack the archives again with --dereference --hard-dereference",
        is_missing=True,
    ),
    "outside_classes": Kind(
        "images outside class folders, left out: {count} ({examples})", is_missing=True
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
        "({examples}); other copies name them otherwise"
    ),
}


class Observation(NamedTuple):
    """Something odd about one file or archive of an input."""

    kind: str  # a key of KINDS
    example: str  # the file, relative to the input, and what is odd about it
    number: int = 1


class InputWarning(NamedTuple):
    """A line about an input, for the output and the dataset's card."""

    text: str
    is_missing: bool = False


def combine(observations: Iterable[Observation]) -> list[Observation]:
    """Sum the counts of each kind, with the examples of the first observations."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for observed in observations:
        counts[observed.kind] += observed.number
        shown = examples.setdefault(observed.kind, [])
        if len(shown) < _EXAMPLES:
            shown.append(observed.example)
    return [
        Observation(kind, list_names(examples[kind], _EXAMPLES), count)
        for kind, count in counts.items()
    ]


def summarize(observations: Iterable[Observation]) -> list[InputWarning]:
    """Return one warning per kind of observation, in the order of `KINDS`."""
    by_kind = {observed.kind: observed for observed in combine(observations)}
    return [
        InputWarning(
            kind.text.format(
                count=f"{by_kind[name].number:,}", examples=by_kind[name].example
            ),
            kind.is_missing,
        )
        for name, kind in KINDS.items()
        if name in by_kind
    ]
