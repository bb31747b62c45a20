"""An .onnx file → a model that can be asked, if ONNX Runtime is installed."""

from collections.abc import Sequence
from importlib import util

import numpy as np
import numpy.typing as npt

from transforms.models.loaders.loaded_model import (
    LoadedModel,
    ModelError,
    check_input,
    check_output,
    first_line,
)

_LIBRARY = "onnxruntime"
_REMEDY = "pip install 'imagenet-subsets[onnx]'"
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_FATAL_ONLY = 4


def load(path: str, given: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a model for batches of one shape.

    Raises: ModelError: no ONNX Runtime, no such model, or inputs and outputs that do
      not fit.
    """
    if util.find_spec(_LIBRARY) is None:
        raise ModelError(f"needs ONNX Runtime, which is not installed: {_REMEDY}")
    import onnxruntime  # noqa: PLC0415  # an extra

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    settings = onnxruntime.SessionOptions()
    # One, so that no sum depends on the cores; batches are asked side by side instead.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    available = onnxruntime.get_available_providers()
    providers = [name for name in _PROVIDERS if name in available]
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=providers)
    except Exception as error:  # its errors have no common class
        raise ModelError(f"cannot be loaded: {first_line(error)}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs; only models of one can be asked")
    kind = inputs[0].type.removeprefix("tensor(").removesuffix(")")
    kind = "float32" if kind == "float" else kind
    check_input(_to_shape(inputs[0].shape), kind, given)
    check_output(_to_shape(outputs[0].shape), num_outputs)
    wanted, name = [outputs[0].name], inputs[0].name

    def ask(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        try:
            (found,) = session.run(wanted, {name: batch})
        except Exception as error:  # its errors have no common class
            raise ModelError(f"failed when asked: {first_line(error)}") from error
        return np.asarray(found)

    return LoadedModel(ask, is_on_gpu=session.get_providers()[0] == _PROVIDERS[0])


def _to_shape(shape: Sequence[object]) -> list[int | None] | None:
    """Take named lengths for any; a shape that nobody gave is empty."""
    return [n if isinstance(n, int) else None for n in shape] or None
