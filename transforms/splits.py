"""Determine whether a folder or archive contains training or validation images.

There are three sources: its name (`train`, `ILSVRC2012_img_val`, `val.X`), the names of
its images (`ILSVRC2012_val_00000001` is an official validation image,
`n01440764_10026` a training image), and the flags --train_input and --validation_input.
A wrong guess would add validation images to the training split, so contradictory names
are an error.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from transforms.records import UsageError, list_names

TRAIN, VALIDATION, TEST = "train", "validation", "test"
ADJECTIVES = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}
FLAGS = {TRAIN: "--train_input", VALIDATION: "--validation_input"}
# Words by which folders, archives and shards state a split. Folds of this program's
# datasets are training images.
_WORDS = {
    **dict.fromkeys(
        ("train", "training", "trainset", "trn", "fold_a", "fold_b"), TRAIN
    ),
    **dict.fromkeys(("val", "valid", "validation", "valset"), VALIDATION),
}
# Splits that are only read if a flag sets them. "test" may also mean a trial run, so
# names with other meaningful words state no split.
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
    """Return the split that a name states; "" if it states none or several."""
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
    """Return whether a name states training or validation without unrelated words.

    `train_annotations` and `training_logs` also state a split, but other words in the
    name show that they contain no images.
    """
    stem = name.partition(".")[0]
    words = set(_WORD.findall(_CAMEL.sub("_", stem).lower()))
    return parse_split(stem) in FLAGS and words <= _PLAIN


def parse_path(path: str) -> str:
    """Return the split stated by the last part of a path that states one, or ""."""
    stated = (parse_split(part) for part in reversed(path.split("/")))
    return next(filter(None, stated), "")


def find_official_split(key: str) -> str:
    """Return the ImageNet split to which an image name belongs; "" for other names."""
    match = _OFFICIAL_NAME.match(key)
    return _SPLIT_OF_NAME[match[1] and match[1].lower()] if match else ""


def is_contradiction(split: str, official: str) -> bool:
    """Return whether an image's name contradicts the split that its folder states.

    Training images in a validation folder are not a contradiction, because subsets such
    as Imagenette validate on some of ImageNet's training images.

    Args:
      split: split that the folder states.
      official: split to which the image's name belongs; "" if unknown.
    """
    return official not in {"", split} and not (
        split == VALIDATION and official == TRAIN
    )


def decide(place: str, stated: str, names: Sequence[str]) -> str:
    """Determine the split of a folder or archive.

    Args:
      place: path of the folder or archive, for messages.
      stated: split that its name states; "" if it states none.
      names: keys of a sample of its images.

    Returns:
      "train" or "validation".

    Raises:
      UsageError: its name and the image names contradict each other, neither states a
        split, they state the test split, or there are no usable images.
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
        f"{len(of_majority)} of {len(names)} sampled image names are those "
        f"of {by_images} images ({shown}); {remedy}"
    )


def describe_decision(place: str, split: str, names: Iterable[str]) -> str:
    """Return a note that the split of a folder was inferred from image names."""
    shown = list_names(list(names)[:_SHOWN])
    taken = f"taken as {ADJECTIVES[split]} images"
    return f"{place}: {taken} by the names of its images ({shown})"
