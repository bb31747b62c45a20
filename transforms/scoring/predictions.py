"""Files of predictions → each model's five likeliest classes, and the truth."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from transforms import storage
from transforms.labels import classes, validation
from transforms.records import UsageError

IntArray = npt.NDArray[np.integer]

NUM_CLASSES = 1000
_MEMBER = "top5.npy"
_SHAPE = (validation.NUM_OFFICIAL, 5)
_MAX_BYTES = 16 * 2**20  # far above 50,000 × 5 × 8; what is larger is something else
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_UNREADABLE = (
    IsADirectoryError, PermissionError, zipfile.BadZipFile, zlib.error, EOFError,
    RuntimeError, NotImplementedError, ValueError,
)  # fmt: skip
_NO_ARRAY = (ValueError, TypeError, EOFError, TokenError, RecursionError, MemoryError)


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
                f"{path}: {model} is the model of {path_of[model]} already; "
                "rename the file, or give it once"
            )
            continue
        path_of[model] = path
        try:
            found.append(_reader(path)(path))
        except UsageError as error:
            problems.append(str(error))
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
    top5 = _parse_npy(_read_member(path), path)
    if problem := next(_find_problems(top5), None):
        raise UsageError(f"{path}: {problem}")
    keys, truth = _official()
    name = PurePosixPath(path).stem
    return Predictions(name, top5.astype(np.int16), truth, keys)


def _read_member(path: str) -> bytes:
    """Read the one member that counts; sizes are checked before anything is read."""
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large for predictions of 50,000 images")
        with zipfile.ZipFile(io.BytesIO(storage.read(path))) as archive:
            if _MEMBER not in archive.namelist():
                found = ", ".join(archive.namelist()[:5]) or "nothing"
                raise UsageError(
                    f"{path}: holds {found[:80]}, not {_MEMBER}; "
                    "write it with numpy.savez(path, top5=…)"
                )
            member = archive.getinfo(_MEMBER)
            if member.file_size > _MAX_BYTES:
                raise UsageError(f"{path}: {_MEMBER} is too large for 50,000 images")
            if member.compress_type not in _COMPRESSIONS:
                raise UsageError(f"{path}: {_MEMBER} must be stored or deflated")
            return archive.read(member)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of predictions") from None
    except _UNREADABLE as error:
        raise UsageError(
            f"{path}: cannot be read as .npz ({error}); make or fetch it again"
        ) from None


def _parse_npy(data: bytes, path: str) -> IntArray:
    """Parse an array once its header says what is expected, so that none is huge."""
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        if shape != _SHAPE or dtype.kind not in "iu":
            raise UsageError(
                f"{path}: top5 has shape {shape} of {dtype}, not {_SHAPE} of integers; "
                "give five class indices for each official validation image in order"
            )
        return np.load(io.BytesIO(data), allow_pickle=False)
    except _NO_ARRAY as error:
        raise UsageError(
            f"{path}: top5 is not a NumPy array ({error}); make or fetch it again"
        ) from None


def _find_problems(top5: IntArray) -> Iterator[str]:
    """Yield what is wrong with the class indices."""
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
    truth = np.array([index_of[wnid] for wnid in labels.values()], dtype=np.int16)
    truth.flags.writeable = False  # all models share it
    return tuple(labels), truth


_READERS: dict[str, Callable[[str], Predictions]] = {".npz": _read_npz}
