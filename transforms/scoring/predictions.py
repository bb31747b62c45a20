"""Files of predictions → each model's five likeliest classes, and the truth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from transforms import storage
from transforms.confusion import npz
from transforms.labels import classes, validation
from transforms.records import UsageError

IntArray = npt.NDArray[np.integer]

NUM_CLASSES = 1000
_SHAPE = (validation.NUM_OFFICIAL, 5)
_MAX_BYTES = 16 * 2**20  # far above 50,000 × 5 × 8; what is larger is something else
_REMEDY = (
    "give an npz file with top5: the five likeliest class indices of each official "
    "validation image, in order"
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of some images, likeliest class first.

    Attributes:
      model: its name.
      top5: shape (images, 5), class indices 0…999.
      truth: shape (images,), class indices 0…999.
      keys: the images' keys in the same order; empty when they are not known.
    """

    model: str
    top5: IntArray
    truth: IntArray
    keys: tuple[str, ...] = ()


def read_predictions(paths: Sequence[str]) -> list[Predictions]:
    """Read one model's predictions from each file; a file is named after its model.

    Args:
      paths: `.npz` files with `top5`, integers of shape (50000, 5): the five likeliest
        classes of the official validation images 1…50000 in order.
    Returns: The predictions, in the order of the paths.
    Raises: UsageError: every file's problem, a line each.
    """
    found, problems = [], []
    path_of: dict[str, str] = {}
    for path in paths:
        model = PurePosixPath(path).stem
        if model in path_of:
            problems.append(
                f"--predictions {path}: {path_of[model]} is of {model} already; "
                "rename the file, or give it once"
            )
            continue
        path_of[model] = path
        try:
            found.append(_reader(path)(path))
        except UsageError as error:
            problems.append(f"--predictions {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return found


def _reader(path: str) -> Callable[[str], Predictions]:
    """Choose how a file is read by its name's end."""
    reader = _READERS.get(PurePosixPath(path).suffix)
    if reader is None:
        raise UsageError(f"{path}: predictions are files of {', '.join(_READERS)}")
    return reader


def _read_npz(path: str) -> Predictions:
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
    keys, truth = _official()
    return Predictions(PurePosixPath(path).stem, top5.astype(np.int64), truth, keys)


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
def _official() -> tuple[tuple[str, ...], IntArray]:
    """Return keys and class indices of the official validation images in order."""
    labels = validation.official_labels()
    index_of = {info.wnid: info.class_index for info in classes.load_classes()}
    truth = np.array([index_of[wnid] for wnid in labels.values()], dtype=np.int64)
    truth.flags.writeable = False  # all models share it
    return tuple(labels), truth


_READERS: dict[str, Callable[[str], Predictions]] = {".npz": _read_npz}
