"""Check the labels of an input against its image names and the official labels.

A single part of an input does not show whether its integer labels index the 1000
classes or a subset of them, or whether few or all labels differ from the official ones.
The index therefore collects the `PartLabels` of each part, and `check` evaluates all
parts of an input together.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from transforms.input_warnings import InputWarning
from transforms.labels import classes, validation
from transforms.labels.image_names import NumberLabels
from transforms.records import ImageRef, list_names

_NUM_CLASSES = 1000
_EXAMPLES = 3
# Less probable labels are rejected: 10 random classes are 0 to 9 once in 3e23 draws.
_MIN_PROBABILITY = 0.01
# A class counts as renamed if this share of its images has one other label, and this
# share of the images with that label is of the class.
_MIN_SHARE = 0.9
_MIN_REPEATS = 8  # images of renamed classes, not counting the first of each class
_MIN_CONFIRMED = 5  # distinct labels, or all if there are fewer


class LabelPair(NamedTuple):
    """The number of officially named images with one official class and one label."""

    official: str
    label: str
    num_images: int
    key: str  # of the first of these images

    def __str__(self) -> str:
        return f"{self.key} is {self.label}, officially {self.official}"


class PartLabels(NamedTuple):
    """The label statistics of one part of an input.

    Attributes:
      official: counts of officially named validation images by class and label.
      numbers: the integer labels of the part.
      shards: name of the set of shards of one split to which the part belongs.
    """

    official: tuple[LabelPair, ...] = ()
    numbers: NumberLabels = NumberLabels(frozenset(), 0)
    shards: str = ""


def compare_with_official(refs: Sequence[ImageRef]) -> tuple[LabelPair, ...]:
    """Count officially named validation images by official class and label."""
    named = [ref for ref in refs if ref.key.startswith(validation.STEM)]
    if not named:
        return ()
    official = validation.official_labels()
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for ref in named:
        if wnid := official.get(ref.key):
            pair = wnid, ref.wnid
            counts[pair] += 1
            first.setdefault(pair, ref.key)
    return tuple(LabelPair(*pair, n, first[pair]) for pair, n in counts.items())


class Verdict(NamedTuple):
    """The result of `check`: warnings, and problems for which to reject the input."""

    warnings: list[InputWarning]
    problems: list[str]


def check(parts: Iterable[PartLabels]) -> Verdict:
    """Check the labels of all parts of one input.

    Report differences from the official labels, and integer labels that may not index
    the 1000 classes in wnid order.
    """
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    shards: dict[str, list[PartLabels]] = {}
    for part in parts:
        for pair in part.official:
            counts[pair[:2]] += pair.num_images
            first.setdefault(pair[:2], pair.key)
        if part.numbers != NumberLabels(frozenset(), 0):
            shards.setdefault(part.shards, []).append(part)
    pairs = [LabelPair(*pair, n, first[pair]) for pair, n in counts.items()]
    verdict = Verdict([], [])
    _check_official(pairs, verdict)
    joined = [_join_numbers(members) for members in shards.values()]
    unconfirmed = [found for found in joined if not _is_confirmed(found, joined)]
    # Labels that are unlikely in one set must not pass because of those in another.
    fitting = [found for found in unconfirmed if not _find_misfit(found, verdict)]
    if fitting:
        numbers = frozenset[int]().union(*(found.numbers for found in fitting))
        _warn_of_numbers(
            NumberLabels(numbers, sum(found.num_images for found in fitting)), verdict
        )
    return verdict


def _join_numbers(parts: Sequence[PartLabels]) -> NumberLabels:
    """Merge the integer labels of a set of shards.

    If most officially named images in the set have their official label, mark these
    labels as confirmed.
    """
    numbers = frozenset[int]().union(*(part.numbers.numbers for part in parts))
    confirmed = frozenset[int]().union(*(part.numbers.confirmed for part in parts))
    pairs = [pair for part in parts if part.numbers.numbers for pair in part.official]
    same = [pair for pair in pairs if pair.official == pair.label]
    total = sum(pair.num_images for pair in pairs)
    if sum(pair.num_images for pair in same) > total / 2:
        known = {info.wnid: info.class_index for info in classes.load_classes()}
        confirmed |= numbers & {known[pair.label] for pair in same}
    num_images = sum(part.numbers.num_images for part in parts)
    return NumberLabels(numbers, num_images, confirmed)


def _is_confirmed(found: NumberLabels, joined: Sequence[NumberLabels]) -> bool:
    """Return whether image names or official labels confirm a set's integer labels.

    Args:
      found: the integer labels of one set of shards.
      joined: those of all sets of the input. A set whose confirmed labels are exactly
        the unconfirmed labels of `found` confirms `found` too.
    """
    if not found.numbers:
        return True
    num_labels = len(found.numbers | found.confirmed)
    if len(found.confirmed) >= min(_MIN_CONFIRMED, num_labels):
        return True
    return any(found.numbers == other.confirmed for other in joined)


def _check_official(pairs: Sequence[LabelPair], verdict: Verdict) -> None:
    """Add the differences from the official labels to a verdict.

    If labels are in another order, all images of an official class have the same wrong
    label. If other images have official names, as in a renumbered subset, the images of
    an official class have various labels.
    """
    different = sorted(
        (pair for pair in pairs if pair.official != pair.label), key=lambda p: p.key
    )
    if not different:
        return
    renamed = list(_find_renamed(pairs))
    total = sum(pair.num_images for pair in pairs)
    num_different = sum(pair.num_images for pair in different)
    share = num_different / total
    text = (
        f"validation images whose label is not the official one: {num_different:,} of "
        f"{total:,}, {share:.1%} ({', '.join(map(str, different[:_EXAMPLES]))})"
    )
    if sum(pair.num_images - 1 for pair in renamed) >= _MIN_REPEATS:
        shown = list_names(
            (f"{_name(p.official)} is labelled {_name(p.label)}" for p in renamed),
            _EXAMPLES,
        )
        verdict.problems.append(
            f"{text}; in {len(renamed)} classes all images have the label of another "
            f"class ({shown}): the labels are in another order than the wnids, e.g. "
            "that of ILSVRC2012_ID, or folders are misnamed; correct the labels"
        )
    elif share > 1 / 2 and _are_whole_classes(pairs, total):
        verdict.problems.append(
            f"{text}; these are the official images of the labelled classes, but their "
            "labels are mixed up; correct the labels"
        )
    elif share > 1 / 2:
        verdict.warnings.append(
            InputWarning(
                f"{text}: these are other images under official names, or wrong "
                "labels; scores and predictions of the official images do not apply"
            )
        )
    else:
        verdict.warnings.append(InputWarning(f"{text}; the label of the input is used"))


def _find_renamed(pairs: Sequence[LabelPair]) -> Iterator[LabelPair]:
    """Yield the pairs of official classes that are consistently labelled as another.

    At least 90 % of the images of the official class and of the label are in the pair.
    """
    of_official: Counter[str] = Counter()
    of_label: Counter[str] = Counter()
    for pair in pairs:
        of_official[pair.official] += pair.num_images
        of_label[pair.label] += pair.num_images
    for pair in sorted(pairs):
        largest = max(of_official[pair.official], of_label[pair.label])
        is_whole = pair.num_images >= max(2, _MIN_SHARE * largest)
        if pair.official != pair.label and is_whole:
            yield pair


def _are_whole_classes(pairs: Sequence[LabelPair], total: int) -> bool:
    """Return whether the images are the official images of the labelled classes.

    Images selected by arbitrary numbers would belong to many more official classes.

    Args:
      pairs: counts by official class and label.
      total: number of images in all pairs.
    """
    official = {pair.official for pair in pairs}
    labels = {pair.label for pair in pairs}
    per_class = validation.NUM_OFFICIAL // _NUM_CLASSES
    share = min(total / validation.NUM_OFFICIAL, 1)
    num_expected = _NUM_CLASSES * (1 - (1 - share) ** per_class)
    is_selected = share > _MIN_SHARE or len(official) <= num_expected / 2
    is_same = len(official & labels) >= _MIN_SHARE * len(official | labels)
    return is_selected and is_same


def _find_misfit(found: NumberLabels, verdict: Verdict) -> bool:
    """Report unconfirmed integer labels that are unlikely to index the 1000 classes.

    Args:
      found: the integer labels of a set of shards.
      verdict: receives the problem.

    Returns:
      Whether a problem was reported.
    """
    first, last, num = min(found.numbers), max(found.numbers), len(found.numbers)
    text = _describe_numbers(found)
    remedy = "give their classes with --class_list, one wnid or name per line"
    starts_at_one = first == 1 and last > 1
    if _probability_up_to(last, num) < _MIN_PROBABILITY:
        line = "- in line 1, for label 0" if starts_at_one else "label 0 in line 1"
        verdict.problems.append(
            f"{text}; they seem to be a subset's own labels, not those of the "
            f"{_NUM_CLASSES} classes: {remedy} ({line})"
        )
    elif starts_at_one and 1 - num / _NUM_CLASSES < _MIN_PROBABILITY:
        verdict.problems.append(
            f"{text}; they seem to count from 1: {remedy} (- in line 1, for label 0)"
        )
    else:
        return False
    return True


def _warn_of_numbers(found: NumberLabels, verdict: Verdict) -> None:
    verdict.warnings.append(
        InputWarning(
            f"{_describe_numbers(found)}, and taken for the {_NUM_CLASSES} classes in "
            "the order of their wnids; no image or label name confirms this"
        )
    )


def _describe_numbers(found: NumberLabels) -> str:
    first, last, num = min(found.numbers), max(found.numbers), len(found.numbers)
    return (
        f"the classes of {found.num_images:,} images are given by numbers alone, "
        f"{first} to {last} ({num} different)"
    )


def _probability_up_to(last: int, num: int) -> float:
    """Return the probability that `num` random distinct labels are all ≤ `last`.

    The labels are drawn from 0 to 999; it is C(last + 1, num) / C(1000, num).
    """
    return math.comb(last + 1, num) / math.comb(_NUM_CLASSES, num)


def _name(wnid: str) -> str:
    return f"{wnid} ({classes.display_name(wnid)})"
