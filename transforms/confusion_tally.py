"""Predictions, image by image → confusion matrices, whole and in cross-fit halves."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import npz, seeds, storage
from transforms.confusion_matrix import Confusion
from transforms.labels.classes import class_index, load_classes
from transforms.labels.validation import NUM_OFFICIAL, official_labels
from transforms.records import UsageError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_NUM_RANKS = 5
_MAX_BYTES = 8 * NUM_OFFICIAL * _NUM_RANKS + 1_000
_HARD = np.array([1])
_SOFT = np.array([16, 8, 4, 2, 1])  # of 31: each rank counts half as much as the last


class Predictions(NamedTuple):
    """What one model takes images for."""

    model: str
    wnids: tuple[str, ...]  # the classes that indices point into
    keys: tuple[str, ...]  # of the images
    true: IntArray  # shape (images,)
    top: IntArray  # shape (images, ranks), the most likely class first


def read_predictions(path: str) -> Predictions:
    """Read predictions by the file's suffix; the model is named as the file.

    Raises: UsageError: no such file, or no predictions of the official images.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in _READERS:
        raise UsageError(
            f"{path}: predictions end in {' or '.join(_READERS)}: an array top5, shape "
            f"({NUM_OFFICIAL}, {_NUM_RANKS}), of class indices"
        )
    try:
        if storage.num_bytes(path) <= _MAX_BYTES:
            return _READERS[suffix](PurePath(path).stem, storage.read(path))
        problem = f"is larger than {_MAX_BYTES} bytes"
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        problem = str(error)
    raise UsageError(
        f"{path}: {problem}; give an npz file with an array top5: the five most likely "
        f"class indices of validation images 1 to {NUM_OFFICIAL}, in order"
    )


def _read_official_top5(model: str, data: bytes) -> Predictions:
    """Read five class indices for each official validation image, in their order."""
    top = npz.parse(data, ["top5"], max_bytes=_MAX_BYTES)["top5"]
    wnids = tuple(info.wnid for info in load_classes())
    if top.shape != (NUM_OFFICIAL, _NUM_RANKS) or top.dtype.kind not in "iu":
        raise ValueError(f"top5 is {top.dtype} of shape {top.shape}")
    if top.min() < 0 or top.max() >= len(wnids):
        raise ValueError(f"top5 holds class {int(top.max())} of {len(wnids)}, from 0")
    labels = official_labels()
    true = np.fromiter((class_index(wnid) for wnid in labels.values()), np.int64)
    return Predictions(model, wnids, tuple(labels), true, top.astype(np.int64))


_READERS = {".npz": _read_official_top5}


def halve(predictions: Predictions, seed: int) -> BoolArray:
    """Tell which images are in half A: of each class the first ⌈n/2⌉ by hash.

    It is the same half that `--folds 2` makes of them.
    """
    places = seeds.orders(seed, "fold", predictions.keys)
    order = np.lexsort((np.array(predictions.keys), places, predictions.true))
    counts = np.bincount(predictions.true, minlength=len(predictions.wnids))
    first = np.cumsum(counts) - counts
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first[predictions.true[order]]
    in_a: BoolArray = rank < -(-counts // 2)[predictions.true]
    return in_a


def tally(
    of_models: Sequence[Predictions],
    *,
    is_soft: bool,
    chosen: Sequence[BoolArray] | None = None,
) -> Confusion:
    """Count what images of each class are taken for, summed over models.

    Args:
      of_models: predictions over the same classes.
      is_soft: spread each image over its five ranks by 1, ½, ¼, ⅛, 1/16, normalised,
        rather than count the first alone.
      chosen: the images of each model to count; all if not given.
    """
    wnids = of_models[0].wnids
    size = len(wnids)
    weights = _SOFT if is_soft else _HARD
    counts = np.zeros(size * size, np.int64)
    num_images = np.zeros(size, np.int64)
    for number, found in enumerate(of_models):
        which = slice(None) if chosen is None else chosen[number]
        true, top = found.true[which], found.top[which]
        num_images += np.bincount(true, minlength=size)
        for rank, weight in enumerate(weights.tolist()):
            cells = true * size + top[:, rank]
            counts += weight * np.bincount(cells, minlength=size * size)
    matrix = counts.reshape(size, size) / weights.sum()
    return Confusion(matrix, wnids, num_images, tuple(p.model for p in of_models))
