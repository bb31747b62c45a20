"""The path of a model file → its kind, its id, and the model; no pickles, no code."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from transforms import storage
from transforms.models.loaders import keras_file, onnx_file, saved_model
from transforms.models.loaders.loaded_model import LoadedModel, ModelError
from transforms.storage import staging

_MODULES = {".keras": keras_file, ".onnx": onnx_file}
_KINDS = ".keras, .onnx, or the folder of a SavedModel"
_WEIGHTS = ".data"  # of an ONNX model, in a file of their own
_SAVE_AS_KERAS = "save it with model.save('NAME.keras')"
_REFUSED: Mapping[str, str] = {
    ".h5": f"HDF5 files can hold code; {_SAVE_AS_KERAS}",
    ".hdf5": f"HDF5 files can hold code; {_SAVE_AS_KERAS}",
    ".pb": "name the folder of the SavedModel, not a file in it",
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"),
        "pickles run whatever code they hold; export the model to .onnx",
    ),
}


def check_kind(path: str) -> None:
    """Tell by its name whether a file can be a model that is read.

    Raises: ModelError: it is not there, or of a kind that is not read.
    """
    suffix = PurePath(path).suffix.lower()
    if not storage.exists(path):
        raise ModelError("no such file or folder")
    if storage.is_folder(path):
        if not storage.is_file(f"{path}/{saved_model.GRAPH}"):
            raise ModelError(f"is a folder without {saved_model.GRAPH}; give {_KINDS}")
    elif suffix in _REFUSED:
        raise ModelError(f"is refused: {_REFUSED[suffix]}")
    elif suffix not in _MODULES:
        raise ModelError(f"is no model that is read; give {_KINDS}")


def find_model_id(path: str) -> str:
    """Hash a model: its file, or the hashes of all its files where it has several.

    Those are the files of a folder, and NAME.onnx.data with the weights of NAME.onnx.
    """
    if storage.is_folder(path):
        files = {name: f"{path}/{name}" for name in storage.list_files(path)}
    elif storage.is_file(weights := f"{path}{_WEIGHTS}"):
        files = {PurePath(path).suffix: path, _WEIGHTS: weights}
    else:
        return _hash(path)
    lines = "".join(f"{_hash(file)} {name}\n" for name, file in files.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _hash(path: str) -> str:
    with storage.open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def load(path: str, given: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a model for batches of one shape.

    Args:
      path: a file that `check_kind` lets pass.
      given: the shape of a batch, its number of images first.
      num_outputs: the number of classes of its card.
    Raises: ModelError: it cannot be loaded safely, or does not fit.
    """
    if storage.is_folder(path):
        with staging.stage_folder(path) as folder:
            return saved_model.load(folder, given, num_outputs)
    with staging.stage_file(path, beside=(_WEIGHTS,)) as file:
        return _MODULES[PurePath(path).suffix.lower()].load(file, given, num_outputs)
