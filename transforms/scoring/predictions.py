"""Files of predictions → each model's five likeliest classes, and the truth."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from transforms import storage
from transforms.confusion import npz
from transforms.labels import classes, validation
from transforms.records import UsageError
from transforms.scoring import prediction_rows
from transforms.scoring.prediction_rows import Batch

IntArray = npt.NDArray[np.integer]

NUM_CLASSES = 1000
_SHAPE = (validation.NUM_OFFICIAL, 5)
_MAX_BYTES = 16 * 2**20  # far above 50,000 × 5 × 8; what is larger is something else
_REMEDY = (
    "give an npz file with top5: the five likeliest class indices of each official "
    "validation image, in order"
)

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of some images, likeliest class first.

    Attributes:
      model: its name.
      top5: shape (images, 5), class indices 0…999; fewer columns where the model knows
        fewer classes.
      truth: shape (images,), class indices 0…999.
      keys: the images' keys in the same order; empty when they are not known.
    """

    model: str
    top5: IntArray
    truth: IntArray
    keys: tuple[str, ...] = ()


def read_predictions(paths: Sequence[str]) -> list[Predictions]:
    """Read the predictions of all models in some files.

    Args:
      paths: `.parquet` files of `pipelines.predict`, of one or more models; or `.npz`
        files, named after their model, with `top5`, integers of shape (50000, 5): the
        five likeliest classes of the official validation images 1…50000 in order.
    Returns: The predictions, in the order of the paths, and of the models in each. The
      images are in the order of their keys, whatever that of the file is.
    Raises: UsageError: every file's problem, a line each.
    """
    found: list[Predictions] = []
    problems: list[str] = []
    path_of: dict[str, str] = {}
    for path in paths:
        try:
            read = _reader(path)(path)
        except UsageError as error:
            problems += [f"--predictions {line}" for line in str(error).splitlines()]
            continue
        for predictions in read:
            if (model := predictions.model) in path_of:
                problems.append(
                    f"--predictions {path}: {path_of[model]} is of {model} already; "
                    "rename the file (in a Parquet file: the model, in its card), or "
                    "give it once"
                )
            path_of.setdefault(model, path)
        found += read
    if problems:
        raise UsageError("\n".join(problems))
    return found


def _reader(path: str) -> Callable[[str], list[Predictions]]:
    """Choose how a file is read by its name's end."""
    reader = _READERS.get(PurePosixPath(path).suffix)
    if reader is None:
        raise UsageError(f"{path}: predictions are files of {', '.join(_READERS)}")
    return reader


def _read_npz(path: str) -> list[Predictions]:
    try:
        if (size := storage.num_bytes(path)) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large ({size} bytes); {_REMEDY}")
        arrays = npz.parse(storage.read(path), ["top5"], max_bytes=_MAX_BYTES)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: {what}; {_REMEDY}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}; {_REMEDY}") from None
    top5 = arrays["top5"]
    if problem := next(_find_problems(top5), None):
        raise UsageError(f"{path}: {problem}; {_REMEDY}")
    keys, truth = official_images()
    return [Predictions(PurePosixPath(path).stem, top5.astype(np.int64), truth, keys)]


def _find_problems(top5: IntArray) -> Iterator[str]:
    """Yield what is wrong with the array."""
    if top5.shape != _SHAPE or top5.dtype.kind not in "iu":
        yield f"top5 has shape {top5.shape} of {top5.dtype}, not {_SHAPE} of integers"
        return
    outside = ((top5 < 0) | (top5 >= NUM_CLASSES)).any(axis=1)
    if outside.any():
        image = int(outside.argmax())
        yield (
            f"top5 of image {image + 1} is {top5[image].tolist()}: class indices are "
            f"0…{NUM_CLASSES - 1}, in the order of the wnids; "
            f"{outside.sum()} images have others"
        )


@cache
def official_images() -> tuple[tuple[str, ...], IntArray]:
    """Return keys and class indices of the official validation images in order."""
    labels = validation.official_labels()
    index_of = {info.wnid: info.class_index for info in classes.load_classes()}
    truth = np.array([index_of[wnid] for wnid in labels.values()], dtype=np.int64)
    truth.flags.writeable = False  # all models share it
    return tuple(labels), truth


def _read_parquet(path: str) -> list[Predictions]:
    described = prediction_rows.describe(path)
    names = [model.model for model in described.models]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(
            f"{path}: has two models named {twice}; name them differently in their "
            "cards and make it again, or keep one"
        )
    batches_of: dict[str, list[Batch]] = defaultdict(list)
    for batch in prediction_rows.read_batches(
        described, range(described.num_row_groups), with_probabilities=False
    ):
        batches_of[batch.model].append(batch)
    if not batches_of:
        raise UsageError(f"{path}: holds no predictions; {prediction_rows.REMEDY}")
    try:
        return [_join(name, batches_of[name]) for name in names if name in batches_of]
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _join(model: str, batches: Sequence[Batch]) -> Predictions:
    """Join the batches of a model, by key.

    Raises: ValueError: what keeps its outputs from being scored by class.
    """
    outputs = _to_indices(batches[0].outputs, f"model {model} has outputs of")
    keys = [key for batch in batches for key in batch.keys]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ordered = tuple(keys[number] for number in order)
    for one, other in pairwise(ordered):
        if one == other:
            raise ValueError(
                f"image {one:.60} stands more than once for model {model}; keep one"
            )
    wnids = [wnid for batch in batches for wnid in batch.wnids]
    truth = _to_indices(wnids, "it holds images of")
    top5 = np.concatenate([outputs[batch.top5] for batch in batches])
    return Predictions(model, top5[order], truth[order], ordered)


def _to_indices(wnids: Sequence[str], what: str) -> IntArray:
    """Turn wnids into class indices.

    Raises: ValueError: some are none of the 1000.
    """
    index_of = {wnid: classes.class_index(wnid) for wnid in set(wnids)}
    if outside := sorted(wnid for wnid, index in index_of.items() if index < 0):
        raise ValueError(
            f"{what} {len(outside)} classes outside the 1000 of ImageNet "
            f"({', '.join(outside[:_SHOWN])}); only models and images of the 1000 can "
            "be compared"
        )
    return np.array([index_of[wnid] for wnid in wnids], dtype=np.int64)


_READERS: dict[str, Callable[[str], list[Predictions]]] = {
    ".npz": _read_npz,
    prediction_rows.SUFFIX: _read_parquet,
}
