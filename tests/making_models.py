"""Write tiny models in three formats that classify images by their mean colour.

All formats have the same weights; `expect` computes their outputs with NumPy.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 16
PREPROCESSING = {
    "resize_px": 20,
    "crop_px": SIDE_PX,
    "mean": [127.5, 127.5, 127.5],
    "std": [64.0, 64.0, 64.0],
}


def make_weights(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of all tiny models with this number of outputs."""
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=(3, num_classes)).astype(np.float32)
    return kernel, rng.normal(size=num_classes).astype(np.float32)


def expect(batch: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the probabilities that every tiny model predicts for a batch."""
    kernel, bias = make_weights(num_classes)
    logits = batch.astype(np.float64).mean(axis=(1, 2)) @ kernel + bias
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def write_card(path: Path, classes: Any, **changes: Any) -> Path:
    """Write a card for a tiny model; None leaves a field out."""
    card = {
        "model": path.stem,
        "classes": classes,
        "preprocessing": PREPROCESSING,
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not None}))
    return path


def write_onnx(
    path: Path,
    num_classes: int,
    *,
    batch: int | str = "n",
    softmax: bool = True,
    side_px: int = SIDE_PX,
) -> Path:
    """Write an ONNX model of mean colour, dense layer and softmax."""
    kernel, bias = make_weights(num_classes)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "kernel", "bias"], ["z"]),
        helper.make_node("Softmax" if softmax else "Identity", ["z"], ["y"]),
    ]
    shape = [batch, side_px, side_px, 3]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, num_classes])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def make_keras(num_classes: int) -> Any:
    """Return the Keras model with the same weights."""
    from transforms.models.loaders.tensorflow_start import import_tensorflow

    import_tensorflow()
    import keras

    model = keras.Sequential([
        keras.Input((SIDE_PX, SIDE_PX, 3)),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(num_classes, activation="softmax"),
    ])
    model.set_weights(make_weights(num_classes))
    return model


def write_keras(path: Path, num_classes: int) -> Path:
    """Write a .keras file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_keras(num_classes).save(path)
    return path


def write_saved_model(path: Path, num_classes: int, *, before: Any = None) -> Path:
    """Write a SavedModel whose graph first calls `before`."""
    model = make_keras(num_classes)
    import tensorflow as tf

    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE_PX, SIDE_PX, 3))])
    def serve(images):
        if before is not None:
            before(tf)
        return {"probabilities": model(images)}

    tf.saved_model.save(module, str(path), signatures=serve)
    return path


def write_lambda_keras(path: Path, num_classes: int) -> Path:
    """Write a .keras file that contains a Python function."""
    model = make_keras(num_classes)
    import keras

    keras.Sequential([*model.layers, keras.layers.Lambda(lambda x: x)]).save(path)
    return path
