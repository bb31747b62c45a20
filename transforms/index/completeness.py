"""Compare the number of images per split and class in an input with ImageNet's.

Source: Russakovsky et al. 2015, arXiv:1409.0575, and the readme of ILSVRC 2012's
development kit: 1,281,167 training images, 732 to 1,300 in each of 1000 classes, and 50
validation images in each.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from transforms.input_warnings import InputWarning
from transforms.labels import classes
from transforms.records import UsageError, list_names

NUM_CLASSES = 1000
_EXAMPLES = 3


class ClassSplit(NamedTuple):
    """A class in a split, used as the key of image counts."""

    wnid: str
    split: str


class _Split(NamedTuple):
    """The number of images in a split of ImageNet, in total and per class."""

    adjective: str
    num_images: int
    least: int  # in a class
    most: int

    @property
    def span(self) -> str:
        """The number of images per class, as text."""
        span = f"{self.least} to {self.most:,}"
        return f"{self.most}" if self.least == self.most else span


_SPLITS = {
    "train": _Split("training", 1_281_167, 732, 1_300),
    "validation": _Split("validation", 50_000, 50, 50),
}


def find_differences(
    num_images: Mapping[ClassSplit, int],
) -> Iterator[InputWarning]:
    """Yield a warning for each split whose image counts differ from ImageNet's.

    Classes outside the 1000 and splits without images are ignored.

    Args:
      num_images: number of images per class and split, including unusable ones.
    """
    for name, split in _SPLITS.items():
        counts = {
            key.wnid: count
            for key, count in sorted(num_images.items())
            if key.split == name and classes.class_index(key.wnid) >= 0
        }
        if text := _describe(split, counts):
            yield InputWarning(text, is_missing=True)


def _describe(split: _Split, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    odd = {w: n for w, n in counts.items() if not split.least <= n <= split.most}
    if not total or (total == split.num_images and not odd):
        return ""
    text = (
        f"found {total:,} of ImageNet's {split.num_images:,} {split.adjective} images"
    )
    if len(counts) < NUM_CLASSES:
        text += f" ({len(counts)} of its {NUM_CLASSES} classes)"
    if odd:
        shown = list_names((f"{w} has {n:,}" for w, n in odd.items()), _EXAMPLES)
        text += (
            f"; classes without ImageNet's {split.span} images: {len(odd)} ({shown})"
        )
    return text


def check_complete(
    warnings: tuple[InputWarning, ...], num_images: Mapping[ClassSplit, int]
) -> None:
    """Check that an input is the complete ImageNet.

    Args:
      warnings: warnings about the input.
      num_images: number of images per class and split, including unusable ones.

    Raises:
      UsageError: images or splits are missing; one line per problem.
    """
    found = {key.split for key in num_images}
    problems = [warning.text for warning in warnings if warning.is_missing]
    problems += [
        f"found no {split.adjective} images"
        for name, split in _SPLITS.items()
        if name not in found
    ]
    if problems:
        raise UsageError(
            "\n".join(f"--require_complete: {problem}" for problem in problems)
        )
