"""Train a small network with JAX on the ArrayRecord shards of a subset with Grain.

Build the subset with --formats array_record.
Install: pip install grain jax optax tensorflow tensorflow-datasets
Run: python examples/jax_array_record.py subsets/demonstration/1.0.0
"""

import argparse
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("dataset", type=Path)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--image_size", type=int, default=64)
parser.add_argument("--batch_size", type=int, default=64)


def init(key: jax.Array, num_classes: int) -> dict[str, list[jax.Array] | jax.Array]:
    """Initialise three 3x3 convolutions and a linear layer."""
    he, shapes = jax.nn.initializers.he_normal(), ((3, 32), (32, 64), (64, 128))
    layers = [he(key, (3, 3, *shape)) for shape in shapes]
    return {"layers": layers, "linear": jnp.zeros((128, num_classes))}


def apply(weights: dict, images: jax.Array) -> jax.Array:
    """Return the logits, shape (images, classes)."""
    x = images.astype(jnp.float32) / 127.5 - 1
    for layer in weights["layers"]:
        order = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, layer, (2, 2), "SAME", None, None, order)
        x = jax.nn.relu(x)
    return x.mean(axis=(1, 2)) @ weights["linear"]


def main() -> None:
    """Train, and print the validation accuracy after every epoch."""
    args = parser.parse_args()
    builder = tfds.builder_from_directory(str(args.dataset / "array_record"))

    def prepare(example: dict) -> tuple[np.ndarray, np.int64]:
        image = Image.fromarray(example["image"])
        return np.asarray(image.resize([args.image_size] * 2)), example["label"]

    sources = builder.as_data_source(split=["train", "validation"])
    train, validation = map(grain.MapDataset.source, sources)
    weights = init(jax.random.key(0), builder.info.features["label"].num_classes)
    optimizer = optax.adam(1e-3)
    state = optimizer.init(weights)

    def loss_of(weights: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = apply(weights, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(weights: dict, state: tuple, *batch: jax.Array) -> tuple[dict, tuple]:
        updates, state = optimizer.update(jax.grad(loss_of)(weights, *batch), state)
        return optax.apply_updates(weights, updates), state

    for epoch in range(1, args.epochs + 1):
        batches = train.shuffle(seed=epoch).map(prepare).batch(args.batch_size)
        for images, labels in batches.to_iter_dataset():  # decodes in threads
            weights, state = step(weights, state, images, labels)
        correct = total = 0
        for images, labels in validation.map(prepare).batch(args.batch_size):
            correct += int((apply(weights, images).argmax(axis=1) == labels).sum())
            total += len(labels)
        print(f"epoch {epoch}: {correct} of {total} validation images are correct")


if __name__ == "__main__":
    main()
