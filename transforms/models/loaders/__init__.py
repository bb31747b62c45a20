"""Load model files by format, without running code or unpickling data from them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from transforms import storage
from transforms.models.loaders import keras_file, onnx_file, saved_model
from transforms.models.loaders.loaded_model import LoadedModel, ModelError
from transforms.storage import staging

_MODULES = {".keras": keras_file, ".onnx": onnx_file}
_KINDS = ".keras, .onnx, or the folder of a SavedModel"
_WEIGHTS = ".data"  # suffix of the weights file of a large ONNX model
_SAVE_AS_KERAS = "save it with model.save('NAME.keras')"
_REFUSED: Mapping[str, str] = {
    ".h5": f"HDF5 files can contain code; {_SAVE_AS_KERAS}",
    ".hdf5": f"HDF5 files can contain code; {_SAVE_AS_KERAS}",
    ".pb": "a SavedModel is a folder; give the folder that contains this file",
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"),
        "pickles can run arbitrary code; export the model to .onnx",
    ),
}


def check_kind(path: str) -> None:
    """Check by file name and folder content that a path may be a supported model.

    Raises:
      ModelError: the path does not exist or its format is not supported.
    """
    suffix = PurePath(path).suffix.lower()
    if not storage.exists(path):
        raise ModelError("no such file or folder")
    if storage.is_folder(path):
        if not storage.is_file(f"{path}/{saved_model.GRAPH}"):
            raise ModelError(f"has no {saved_model.GRAPH}; give {_KINDS}")
    elif suffix in _REFUSED:
        raise ModelError(f"is not supported: {_REFUSED[suffix]}")
    elif suffix not in _MODULES:
        raise ModelError(f"is not a supported model format; give {_KINDS}")


def find_model_id(path: str) -> str:
    """Return a SHA-256 that identifies a model.

    For a single file, it is the hash of the file. For a model of several files (a
    SavedModel folder, or an ONNX model with external weights), it is the hash of the
    list of file hashes and names.

    Raises:
      ModelError: an .onnx file is damaged or its weights are outside its folder.
    """
    if storage.is_folder(path):
        return _hash_all((n, f"{path}/{n}") for n in storage.list_files(path))
    folder, _, name = storage.absolute(path).rpartition("/")
    with staging.stage_file(path) as local:
        files = [(PurePath(path).suffix, local)]
        for weights in _list_weights(local):
            if storage.is_file(file := f"{folder}/{weights}"):
                files.append((weights.removeprefix(name), file))
        return _hash_all(files) if len(files) > 1 else _hash(local)


def _list_weights(path: str) -> list[str]:
    """List the files of weights, relative to its folder, that a local file may need."""
    names = [f"{PurePath(path).name}{_WEIGHTS}"]
    if PurePath(path).suffix.lower() == ".onnx":
        names += onnx_file.list_weights(path)
    return list(dict.fromkeys(names))


def _hash_all(files: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"{_hash(path)} {name}\n" for name, path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _hash(path: str) -> str:
    with storage.open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # has readinto


def stage(path: str, model_id: str) -> str:
    """Return the path of a model on this machine; copy a model in a bucket.

    All processes of a machine use one copy. It is removed after the last one has ended.

    Args:
      path: a path that `check_kind` accepts.
      model_id: id of the model when it was described.

    Raises:
      ModelError: the model has changed since.
    """
    if storage.is_remote(path):
        path = staging.share_copy(path, model_id, beside=_list_weights)
    if find_model_id(path) != model_id:
        raise ModelError("has changed since the job was started; run it again")
    return path


def load(path: str, batch_shape: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a model for batches of shape `batch_shape`.

    Args:
      path: a local path that `check_kind` accepts.
      batch_shape: shape of the input batches, image axis first.
      num_outputs: number of outputs according to the model's card.

    Raises:
      ModelError: the model cannot be loaded safely, or its input or output shape does
        not match.
    """
    if storage.is_folder(path):
        return saved_model.load(path, batch_shape, num_outputs)
    module = _MODULES[PurePath(path).suffix.lower()]
    return module.load(path, batch_shape, num_outputs)
