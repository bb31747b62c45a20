"""Load .keras files without running code from them, and compile functions to graphs."""

import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.models.loaders.loaded_model import (
    LoadedModel,
    ModelError,
    check_input,
    check_output,
    first_line,
)
from transforms.models.loaders.tensorflow_start import import_tensorflow

_MAX_BYTES = 1 << 35  # uncompressed
_MAX_CONFIG_BYTES = 1 << 26
# Keras raises these for files that are damaged, unsafe or of another version.
_REFUSALS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    OSError,
    RuntimeError,
    AssertionError,
)
_UNSAFE = ("safe_mode", "arbitrary code", "unsafe")


def load(path: str, batch_shape: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a .keras file for batches of shape `batch_shape`.

    Raises:
      ModelError: the file is not a .keras file, is damaged or too large, contains code,
        or its inputs or outputs do not match.
    """
    _check_sizes(path)
    tf = import_tensorflow()
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        inputs, outputs = model.inputs, model.outputs
    except _REFUSALS as error:
        if any(word in str(error) for word in _UNSAFE):
            raise ModelError(
                "contains code (a Lambda layer), which is never run; use layers of "
                "Keras only"
            ) from error
        raise ModelError(f"cannot be loaded: {first_line(error)}") from error
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs; only 1 is supported")
    check_input(inputs[0].shape, inputs[0].dtype, batch_shape)
    check_output(outputs[0].shape, num_outputs)
    return compile_model(
        tf, lambda batch: tf.nest.flatten(model(batch, training=False))[0], batch_shape
    )


def compile_model(tf: Any, function: Any, batch_shape: Sequence[int]) -> LoadedModel:
    """Compile an inference function to a TensorFlow graph for one batch shape.

    Args:
      tf: the TensorFlow module.
      function: maps a batch to outputs, shape (images, outputs).
      batch_shape: shape of all batches, image axis first.

    Returns:
      The compiled model.

    Raises:
      ModelError: the function cannot be traced.
    """
    spec = tf.TensorSpec(tuple(batch_shape), tf.float32)
    refusals = (*_REFUSALS, tf.errors.OpError)
    try:
        graph = tf.function(function, autograph=False).get_concrete_function(spec)
    except refusals as error:
        raise ModelError(f"cannot be compiled: {first_line(error)}") from error

    def predict(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        try:
            return np.asarray(graph(tf.constant(batch)))
        except refusals as error:
            raise ModelError(f"inference failed: {first_line(error)}") from error

    return LoadedModel(predict, is_on_gpu=bool(tf.config.list_physical_devices("GPU")))


def _check_sizes(path: str) -> None:
    """Reject files that are not zip archives or that unpack to too many bytes.

    Raises:
      ModelError: the file is rejected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"is not a .keras file: {first_line(error)}") from error
    if sum(sizes.values()) > _MAX_BYTES or (
        sizes.get("config.json", 0) > _MAX_CONFIG_BYTES
    ):
        raise ModelError(
            f"would unpack to more than {_MAX_BYTES >> 30} GiB, or its config.json to "
            f"more than {_MAX_CONFIG_BYTES >> 20} MiB"
        )
