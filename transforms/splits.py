"""Decide which split a folder or archive holds.

Three sources: its name (`train`, `ILSVRC2012_img_val`, `val.X`), the names of its
images (`ILSVRC2012_val_00000001` is an official validation image, `n01440764_10026` a
training image), and the flags --train_input and --validation_input. A wrong guess puts
validation images into the training split, so a contradiction is an error.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from transforms.records import UsageError, list_names

TRAIN, VALIDATION, TEST = "train", "validation", "test"
ADJECTIVES = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}
FLAGS = {TRAIN: "--train_input", VALIDATION: "--validation_input"}
# What the names of folders, archives and shards contain. Folds of this program's
# datasets are training images.
_WORDS = {
    **dict.fromkeys(
        ("train", "training", "trainset", "trn", "fold_a", "fold_b"), TRAIN
    ),
    **dict.fromkeys(("val", "valid", "validation", "valset"), VALIDATION),
}
# Splits that are never read, unless a flag tells. "test" is also a trial run, so the
# other words of such a name must say nothing either.
_UNUSED = {"test", "testing", "testset", "dev", "eval", "evaluation", "holdout"}
_NEUTRAL = {"ilsvrc", "img", "image", "images", "set", "data", "v", "x", "tar", "zip"}
_PLAIN = {*_WORDS, *_NEUTRAL, "imagenet", "sorted", "k"}
_WORD = re.compile(r"fold_[ab](?![a-z])|[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OFFICIAL_NAME = re.compile(r"(?:ilsvrc20\d\d_(val|test)_|n\d{8}_)\d+", re.IGNORECASE)
_SPLIT_OF_NAME = {"val": VALIDATION, "test": TEST, None: TRAIN}
_SHOWN = 3


@lru_cache(1 << 12)
def parse_split(name: str) -> str:
    """Return the split that the name of a folder or file states; "" for none."""
    words = _WORD.findall(_CAMEL.sub("_", name).lower())
    stated = {
        _WORDS[word]
        for word in (w.removeprefix("imagenet").removeprefix("ilsvrc") for w in words)
        if word in _WORDS
    }
    if len(stated) == 1:
        return stated.pop()
    is_unused = bool(_UNUSED.intersection(words)) and not stated
    return TEST if is_unused and set(words) <= _UNUSED | _NEUTRAL else ""


def is_plain(name: str) -> bool:
    """Return whether a name states training or validation and little else.

    `train_annotations` and `training_logs` state a split, but hold no images.
    """
    stem = name.partition(".")[0]
    words = set(_WORD.findall(_CAMEL.sub("_", stem).lower()))
    return parse_split(stem) in FLAGS and words <= _PLAIN


def parse_path(path: str) -> str:
    """Return the split that the last stating folder of a relative path states."""
    stated = (parse_split(part) for part in reversed(path.split("/")))
    return next(filter(None, stated), "")


def find_official_split(key: str) -> str:
    """Return the split in which ImageNet has an image of this name; "" for others."""
    match = _OFFICIAL_NAME.match(key)
    return _SPLIT_OF_NAME[match[1] and match[1].lower()] if match else ""


def is_contradiction(split: str, official: str) -> bool:
    """Return whether an image's name contradicts the split that its folder states.

    Copies such as Imagenette validate on some of ImageNet's training images, so these
    are accepted among validation images, with a warning.
    """
    return official not in {"", split} and not (
        split == VALIDATION and official == TRAIN
    )


def decide(place: str, stated: str, names: Sequence[str]) -> str:
    """Decide the split of a folder or archive.

    Args:
      place: path of the folder or archive, for messages.
      stated: the split that its name states; "" for none.
      names: keys of some of its images.

    Returns:
      train or validation.

    Raises:
      UsageError: the names contradict each other, or nothing states the split.
    """
    officials = [find_official_split(name) for name in names]
    majority = next(
        (s for s in (TRAIN, VALIDATION, TEST) if officials.count(s) * 2 > len(names)),
        "",
    )
    if stated in FLAGS and not is_contradiction(stated, majority):
        return stated
    if not stated and majority in FLAGS:
        return majority
    if not (names or stated):
        raise UsageError(f"no usable images in {place}")
    of_majority = [n for n, s in zip(names, officials, strict=True) if s == majority]
    shown = list_names(of_majority[:_SHOWN]) or "no images"
    remedy = f"give it with {' or '.join(FLAGS.values())} instead of --input"
    if not (stated or majority):
        raise UsageError(
            f"{place}: its split is unclear: neither its name nor the names of its "
            f"images ({shown}) tell training from validation images; {remedy}"
        )
    by_name, by_images = ADJECTIVES.get(stated), ADJECTIVES.get(majority)
    if majority in {"", stated}:
        raise UsageError(
            f"{place}: its name says {by_name} images, which are not used; if they are "
            f"labelled, {remedy}"
        )
    if not stated:
        raise UsageError(
            f"{place}: its images are named as {by_images} images ({shown}), which "
            "have no labels; give training or validation images"
        )
    raise UsageError(
        f"{place}: its split is unclear: its name says {by_name} images, but "
        f"{len(of_majority)} of {len(names)} image names that were looked at are those "
        f"of {by_images} images ({shown}); {remedy}"
    )


def describe_decision(place: str, split: str, names: Iterable[str]) -> str:
    """Describe a split that image names decided."""
    shown = list_names(list(names)[:_SHOWN])
    taken = f"taken as {ADJECTIVES[split]} images"
    return f"{place}: {taken} by the names of its images ({shown})"
