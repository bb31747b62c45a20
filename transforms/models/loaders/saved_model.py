"""Load SavedModel folders, rejecting graphs with unsafe operations."""

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transforms.models.loaders.keras_file import compile_model
from transforms.models.loaders.loaded_model import (
    LoadedModel,
    ModelError,
    check_input,
    check_output,
    first_line,
)
from transforms.models.loaders.tensorflow_start import import_tensorflow
from transforms.records import list_names

GRAPH = "saved_model.pb"
_MAX_GRAPH_BYTES = 1 << 30
_SIGNATURE = "serving_default"
# Operations that read or write files, use the network or run Python.
_UNSAFE = re.compile(
    "File|Reader|PyFunc|Dataset|Iterator|Save|Restore|Checkpoint|Summary|Debug|Rpc"
    "|Socket|Sql|Lmdb|Dump|Bigtable|^PrintV2$|^ImmutableConst$"
)
_PROTOBUF_ERRORS = "google.protobuf.message"


def load(path: str, batch_shape: Sequence[int], num_outputs: int) -> LoadedModel:
    """Load a SavedModel folder for batches of shape `batch_shape`.

    Raises:
      ModelError: the folder is damaged or not a TensorFlow 2 SavedModel, its graph is
        unsafe or too large, or its inputs or outputs do not match `batch_shape` and
        `num_outputs`.
    """
    _check_size(path)
    tf = import_tensorflow()
    _check_graph(path)
    try:
        loaded = tf.saved_model.load(path)
        signature = _find_signature(loaded.signatures)
    except (ValueError, TypeError, LookupError, OSError, tf.errors.OpError) as error:
        raise ModelError(f"cannot be loaded: {first_line(error)}") from error
    _, inputs = signature.structured_input_signature
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs; only 1 is supported")
    ((name, spec),) = inputs.items()
    check_input(_to_shape(spec.shape), spec.dtype.name, batch_shape)
    outputs = signature.structured_outputs
    first = min(outputs)
    check_output(_to_shape(outputs[first].shape), num_outputs)

    def run_signature(batch: Any) -> Any:
        return loaded.signatures[signature_name](**{name: batch})[first]

    signature_name = next(k for k, v in loaded.signatures.items() if v is signature)
    return compile_model(tf, run_signature, batch_shape)


def _find_signature(signatures: Any) -> Any:
    if _SIGNATURE in signatures:
        return signatures[_SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    raise ValueError(f"has no signature {_SIGNATURE}")


def _to_shape(shape: Any) -> list[int | None] | None:
    return None if shape.rank is None else shape.as_list()


def _check_size(path: str) -> None:
    place = Path(path, GRAPH)
    if not place.is_file():
        raise ModelError(f"has no {GRAPH}; a model folder must be a SavedModel")
    if place.stat().st_size > _MAX_GRAPH_BYTES:
        raise ModelError(f"{GRAPH} is larger than {_MAX_GRAPH_BYTES >> 30} GiB")


def _check_graph(path: str) -> None:
    """Reject a SavedModel with unsafe operations, before any operation runs.

    Raises:
      ModelError: the graph is damaged, unsafe or from TensorFlow 1.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(Path(path, GRAPH).read_bytes())
    except importlib.import_module(_PROTOBUF_ERRORS).DecodeError as error:
        raise ModelError(f"{GRAPH} is damaged") from error
    if not all(m.HasField("object_graph_def") for m in saved.meta_graphs):
        raise ModelError("is a TensorFlow 1 model; export it again with TensorFlow 2")
    unsafe = {op for m in saved.meta_graphs for op in _find_unsafe(m)}
    if unsafe:
        raise ModelError(
            f"has unsafe operations ({list_names(sorted(unsafe))}); export the model "
            "without operations that read or write files, use the network or run Python"
        )


def _find_unsafe(meta: Any) -> Iterator[str]:
    """Yield the names of unsafe operations in a meta graph.

    Operations of the saver, which writes and restores checkpoints, are ignored: they
    never run.
    """
    saver = {
        meta.saver_def.save_tensor_name.split(":")[0],
        meta.saver_def.restore_op_name.split(":")[0],
    }
    nodes = list(meta.graph_def.node)
    savers = {n.attr["f"].func.name for n in nodes if n.name in saver}
    for function in meta.graph_def.library.function:
        if function.signature.name not in savers:
            nodes += function.node_def
    yield from (node.op for node in nodes if _UNSAFE.search(node.op))
