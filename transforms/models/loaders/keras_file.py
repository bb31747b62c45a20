"""A .keras file → a model that can be asked; code in it is never run."""

import zipfile
from collections.abc import Sequence

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

_MAX_BYTES = 1 << 35  # unpacked
_MAX_CONFIG_BYTES = 1 << 26
# What Keras raises on files that are rotten, of another version, or not allowed.
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


def load(path: str, given: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a model for batches of one shape.

    Raises: ModelError: no such file, code in it, or outputs that do not fit.
    """
    _check_sizes(path)
    tf = import_tensorflow()
    import keras  # noqa: PLC0415  # brings TensorFlow, which takes seconds

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        inputs, outputs = model.inputs, model.outputs
    except _REFUSALS as error:
        if any(word in str(error) for word in _UNSAFE):
            raise ModelError(
                "holds code of its own (a Lambda layer), which is never run; save the "
                "model with Keras' own layers"
            ) from error
        raise ModelError(f"cannot be loaded: {first_line(error)}") from error
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs; only models of one can be asked")
    check_input(inputs[0].shape, inputs[0].dtype, given)
    check_output(outputs[0].shape, num_outputs)
    return make_asking(
        tf, lambda batch: tf.nest.flatten(model(batch, training=False))[0], given
    )


def make_asking(tf, function, given: Sequence[int]) -> LoadedModel:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Make one graph of a function of a batch, compiled for its shape."""
    spec = tf.TensorSpec(tuple(given), tf.float32)
    refusals = (*_REFUSALS, tf.errors.OpError)
    try:
        graph = tf.function(function, autograph=False).get_concrete_function(spec)
    except refusals as error:
        raise ModelError(f"cannot be asked: {first_line(error)}") from error

    def ask(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        try:
            return np.asarray(graph(tf.constant(batch)))
        except refusals as error:
            raise ModelError(f"failed when asked: {first_line(error)}") from error

    return LoadedModel(ask, is_on_gpu=bool(tf.config.list_physical_devices("GPU")))


def _check_sizes(path: str) -> None:
    """Refuse what is no archive, or one that would fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"is no .keras file: {first_line(error)}") from error
    if sum(sizes.values()) > _MAX_BYTES or (
        sizes.get("config.json", 0) > _MAX_CONFIG_BYTES
    ):
        raise ModelError("would unpack to more than any model of images has")
