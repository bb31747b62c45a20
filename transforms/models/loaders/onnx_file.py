"""Load .onnx files with ONNX Runtime, an optional dependency."""

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
_FATAL_ONLY = 4  # log level


def load(path: str, batch_shape: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load an .onnx file for batches of shape `batch_shape`.

    Raises:
      ModelError: ONNX Runtime is missing, the file is invalid, or its inputs or outputs
        do not match.
    """
    if util.find_spec(_LIBRARY) is None:
        raise ModelError(f"needs ONNX Runtime, which is not installed: {_REMEDY}")
    import onnxruntime  # noqa: PLC0415  # an extra

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    settings = onnxruntime.SessionOptions()
    # With one thread, sums do not depend on the cores; batches run in parallel instead.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    available = onnxruntime.get_available_providers()
    providers = [name for name in _PROVIDERS if name in available]
    if providers[0] == _PROVIDERS[0]:
        onnxruntime.preload_dlls()  # CUDA's libraries, which pip installed
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=providers)
    except Exception as error:  # its errors have no common class
        raise ModelError(f"cannot be loaded: {first_line(error)}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs; only 1 is supported")
    dtype = inputs[0].type.removeprefix("tensor(").removesuffix(")")
    dtype = "float32" if dtype == "float" else dtype
    check_input(_to_shape(inputs[0].shape), dtype, batch_shape)
    check_output(_to_shape(outputs[0].shape), num_outputs)
    output_names, input_name = [outputs[0].name], inputs[0].name

    def predict(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        try:
            (output,) = session.run(output_names, {input_name: batch})
        except Exception as error:  # its errors have no common class
            raise ModelError(f"inference failed: {first_line(error)}") from error
        return np.asarray(output)

    return LoadedModel(predict, is_on_gpu=session.get_providers()[0] == _PROVIDERS[0])


def _to_shape(shape: Sequence[object]) -> list[int | None] | None:
    """Convert an ONNX shape to a list of lengths, with None for a variable length.

    Returns:
      The list, or None if the shape is empty, i.e. unknown.
    """
    return [n if isinstance(n, int) else None for n in shape] or None
