"""Compare the trainer with a plain loop: crops from arrays and one compiled epoch."""

import resource
from collections.abc import Callable

import numpy as np

from pipelines import build
from tests.benchmarks import children
from tests.benchmarks.settings import Row, Settings
from transforms.miniature import archives as miniature
from transforms.models.loaders import tensorflow_start

TIMES = 1.2
MODELS = ("linear", "mlp:256x1", "cnn:16x3", "separable:16x4", "mixer:32x2")
_IMAGE_PX, _BATCH = 32, 128
_CLASSES = 20


def measure(settings: Settings) -> list[Row]:
    """Train every model for an epoch with both, alternately, after a first epoch."""
    tensorflow_start.import_tensorflow(threads_per_operation=1)
    num_images = max(1024, min(settings.images, 16_000) // _CLASSES * _CLASSES)
    dataset = _build(settings, num_images)
    taken: dict[str, list[float]] = {"ours": [], "plain": []}
    for model in MODELS:
        loops = {
            "ours": _make_ours(model, dataset),
            "plain": _make_plain(model, num_images),
        }
        for loop in loops.values():
            loop()
        timed = children.alternate(
            {name: lambda loop=loop: _time(loop) for name, loop in loops.items()},
            settings.repetitions,
        )
        for name, seconds in timed.items():
            taken[name].append(children.median(seconds))
    ratio = sum(taken["ours"]) / sum(taken["plain"])
    speed = num_images * len(MODELS) / sum(taken["ours"])
    return [
        Row(
            what=f"training of {len(MODELS)} small models, CPU time of an epoch",
            measured=f"{ratio:.2f} × a plain loop ({speed:,.0f} images per CPU second)",
            target=f"≤ {TIMES} × a plain loop",
            reached=ratio <= TIMES,
            figures={"models": list(MODELS), "cpu_seconds": taken},
        )
    ]


def _build(settings: Settings, num_images: int) -> str:
    source, output = settings.work / "miniature", settings.work / "trained"
    per_class = num_images // _CLASSES
    miniature.write_miniature(
        str(source), num_classes=_CLASSES, num_train=per_class, num_validation=1
    )
    build.main([
        f"--input={source}",
        f"--output={output}",
        "--name=trained",
        "--grouping=all_classes",
        "--min_validation_images=0",
        "--image_size=64",
        "--formats=tfrecord",
    ])
    return str(next(output.glob("trained/*")))


def _time(run: Callable[[], None]) -> float:
    """Return the CPU seconds of a call, in all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return user + system


def _make_ours(model: str, dataset: str) -> Callable[[], None]:
    from transforms.training import data, input_pipeline, trainer
    from transforms.training.settings import TrainSettings

    training_set = data.read_training_set(
        dataset, train_split="train", validation_split="validation"
    )
    num_images = len(training_set.train_keys)
    pipeline = input_pipeline.InputPipeline(
        input_pipeline.InputSettings(
            files=training_set.shards,
            num_images=num_images,
            image_size=_IMAGE_PX,
            num_classes=_CLASSES,
            batch_size=_BATCH,
            seed=0,
        )
    )
    fitted = trainer.Trainer(
        TrainSettings(
            subset_id=training_set.subset_id,
            train_split="train",
            validation_split="validation",
            model=model,
            image_size=_IMAGE_PX,
            epochs=20,
            learning_rate=(0.003,),
            batch_size=_BATCH,
            label_smoothing=0.1,
            weight_decay=0.05,
            seed=0,
            mixed_precision="false",
        ),
        learning_rate=0.003,
        num_classes=_CLASSES,
        steps_per_epoch=-(-num_images // _BATCH),
    )
    return lambda: fitted.train(pipeline.make_epoch(1), lambda _: None)


def _make_plain(name: str, num_images: int) -> Callable[[], None]:
    """Make a loop with no input pipeline: random crops of an array, in one graph."""
    import keras
    import tensorflow as tf

    from transforms.training import architectures

    rng = np.random.default_rng(0)
    shape = (num_images, 2 * _IMAGE_PX, 2 * _IMAGE_PX, 3)
    pixels = tf.constant(rng.integers(0, 256, shape, np.uint8))
    labels = tf.constant(rng.integers(0, _CLASSES, num_images))
    built = architectures.build(name, _IMAGE_PX, _CLASSES, policy="float32")
    model = keras.Model(built.inputs, built.layers[-1].input)
    optimizer = keras.optimizers.AdamW(0.003, 0.05)
    optimizer.build(model.trainable_variables)
    find_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1
    )

    @tf.function
    def train_epoch() -> None:
        order = tf.random.shuffle(tf.range(num_images))
        for start in tf.range(0, num_images, _BATCH):
            numbers = order[start : start + _BATCH]
            corners = tf.random.uniform([tf.shape(numbers)[0], 2], maxval=0.5)
            boxes = tf.concat([corners, corners + 0.5], axis=1)
            crops = tf.image.crop_and_resize(
                pixels, boxes, numbers, [_IMAGE_PX, _IMAGE_PX]
            )
            targets = tf.one_hot(tf.gather(labels, numbers), _CLASSES)
            with tf.GradientTape() as tape:
                loss = find_loss(targets, model(crops, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients)

    return train_epoch
