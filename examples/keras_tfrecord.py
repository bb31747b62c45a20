"""Train a Keras model on the TFRecord shards of a subset with tf.data.

Install: pip install tensorflow
Run: python examples/keras_tfrecord.py subsets/demonstration/1.0.0
"""

import argparse
import json
from pathlib import Path

import keras
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("dataset", type=Path)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--batch_size", type=int, default=64)

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def make_dataset(args: argparse.Namespace, split: str) -> tf.data.Dataset:
    """Read the shards in parallel, in a new order every epoch of the training split."""
    size = args.image_size

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(record, FEATURES)
        image = tf.io.decode_jpeg(example["image"], channels=3)
        image = tf.image.resize(image, (size, size))
        return image, example["label"]

    folder = args.dataset / "__tfds__"
    files = sorted(map(str, folder.glob(f"*-{split}.tfrecord-*")))
    data = tf.data.Dataset.from_tensor_slices(files)
    if split == "train":
        data = data.shuffle(len(files))
    data = data.interleave(
        tf.data.TFRecordDataset,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=split != "train",
    )
    if split == "train":
        data = data.shuffle(10_000)  # images that are not decoded yet
    data = data.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(args.batch_size).prefetch(tf.data.AUTOTUNE)


def main() -> None:
    """Train, and print the validation accuracy after every epoch."""
    args = parser.parse_args()
    classes = json.loads((args.dataset / "classes.json").read_text())
    layers = [keras.Input((args.image_size, args.image_size, 3))]
    layers += [keras.layers.RandomFlip("horizontal"), keras.layers.Rescaling(1 / 255)]
    for width in (32, 64, 128, 256):  # or any model of keras.applications
        layers.append(keras.layers.Conv2D(width, 3, 2, "same", activation="relu"))
    layers.append(keras.layers.GlobalAveragePooling2D())
    layers.append(keras.layers.Dense(len(classes), activation="softmax"))
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    train, validation = make_dataset(args, "train"), make_dataset(args, "validation")
    model.fit(train, validation_data=validation, epochs=args.epochs, verbose=2)


if __name__ == "__main__":
    main()
