"""Load .onnx files with ONNX Runtime, an optional dependency."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from importlib import util
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from transforms import storage
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
# Fields of onnx.proto that lead to the names of external files, by message.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        **dict.fromkeys((5, 10), "Tensor"),
        **dict.fromkeys((6, 11), "Graph"),
        **dict.fromkeys((22, 23), "SparseTensor"),
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "ExternalData"},
    "ExternalData": {},
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # Protocol Buffers' wire types
_MAX_VARINT_BYTES = 10


def load(path: str, batch_shape: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load an .onnx file for batches of shape `batch_shape`.

    Raises:
      ModelError: ONNX Runtime is missing, the file is invalid, or its inputs or outputs
        do not match.
    """
    if util.find_spec(_LIBRARY) is None:
        raise ModelError(f"needs ONNX Runtime, which is not installed: {_REMEDY}")
    import onnxruntime  # an extra

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


def list_weights(path: str) -> list[str]:
    """List the external files that store tensors of a local .onnx file.

    The file is parsed here because neither ONNX Runtime nor Protocol Buffers' library
    lists them without loading all weights.

    Returns:
      Their paths relative to the folder of the model, in ascending order.

    Raises:
      ModelError: the file is damaged, or an external file is outside its folder.
    """
    names = set()
    try:
        with (
            storage.open_input(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            pending = [("Model", 0, len(data))]
            while pending:
                message, start, end = pending.pop()
                fields = list(_find_fields(data, start, end))
                if message == "ExternalData":
                    entry = {number: data[a:b] for number, a, b in fields}
                    if entry.get(1) == b"location":
                        names.add(entry.get(2, b"").decode())
                nested = _FIELDS[message]
                pending += [(nested[n], a, b) for n, a, b in fields if n in nested]
    except (IndexError, ValueError):
        raise ModelError("is not a valid .onnx file") from None
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(
                f"has weights in {name}, outside its folder; save them beside the model"
            )
    return sorted(names)


def _find_fields(
    data: mmap.mmap, start: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the number, start and end of each field of bytes in a message.

    Raises:
      IndexError, ValueError: the message is damaged.
    """
    while start < end:
        tag, start = _read_varint(data, start)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, start = _read_varint(data, start)
        elif wire_type == _BYTES:
            length, start = _read_varint(data, start)
            yield number, start, start + length
            start += length
        elif wire_type in {_FIXED64, _FIXED32}:
            start += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(wire_type)
    if start > end:
        raise ValueError(start)


def _read_varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """Return a variable-length integer and the position after it.

    Raises:
      IndexError, ValueError: the integer is damaged.
    """
    value = 0
    for number in range(_MAX_VARINT_BYTES):
        byte = data[start + number]
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, start + number + 1
    raise ValueError(start)


def _to_shape(shape: Sequence[object]) -> list[int | None] | None:
    """Convert an ONNX shape to a list of lengths, with None for a variable length.

    Returns:
      The list, or None if the shape is empty, i.e. unknown.
    """
    return [n if isinstance(n, int) else None for n in shape] or None
