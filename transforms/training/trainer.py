"""Train models: fit, validate and checkpoint every epoch, and keep the best run.

All models are trained with AdamW; the learning rate rises linearly to its peak, then
falls along a cosine to zero at the last step. Weights are float32 even with mixed
precision. A float32 copy of the trained model, its twin, is validated and saved, so
that inference precision does not depend on the machine.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms import seeds
from transforms.models.loaders.loaded_model import first_line
from transforms.records import JobError
from transforms.training import architectures, checkpoint
from transforms.training import results as training_results
from transforms.training.checkpoint import Progress
from transforms.training.curves import CurveRow
from transforms.training.data import TrainingSet
from transforms.training.input_pipeline import (
    SHARD_MISMATCH,
    InputPipeline,
    InputSettings,
)
from transforms.training.results import ValidationImages
from transforms.training.settings import TrainSettings, mark_started

Variable: TypeAlias = Any  # Keras has no types
Batches: TypeAlias = Any  # a tf.data.Dataset; TensorFlow has no types
Tensor: TypeAlias = Any
Schedule: TypeAlias = Any  # Keras has no types

_WARM_UP = 0.05  # share of the steps in which the learning rate rises
_MIN_CAPABILITY = (8, 0)  # CUDA capability of GPUs with fast bfloat16
_MAX_SEED = 1 << 31  # of Keras
_STEPS_PER_CALL = 32  # training steps that are executed without returning to Python


class Trainer:
    """Trains a model and copies its weights to a float32 twin for inference."""

    def __init__(
        self,
        settings: TrainSettings,
        *,
        learning_rate: float,
        num_classes: int,
        steps_per_epoch: int,
    ) -> None:
        """Build the model and its twin.

        Args:
          settings: settings of the training run.
          learning_rate: peak learning rate, one of those of the settings.
          num_classes: number of outputs of the model.
          steps_per_epoch: number of batches of one epoch.
        """
        keras.backend.clear_session()  # restarts the numbering of layer names
        seed = seeds.order(settings.seed, "draw", "weights") % _MAX_SEED
        keras.utils.set_random_seed(seed)
        build = partial(
            architectures.build, settings.model, settings.image_size, num_classes
        )
        self.twin = build(policy="float32")
        self._num_steps = steps_per_epoch
        self._strategy = _all_gpus()
        with self._strategy.scope():
            trained = build(policy=_choose_policy(settings.mixed_precision))
            trained.set_weights(self.twin.get_weights())
            self._trained = trained
            # The loss of logits is more exact than that of probabilities.
            self._fitted = keras.Model(trained.inputs, trained.layers[-1].input)
            schedule = _make_schedule(learning_rate, settings.epochs * steps_per_epoch)
            self._optimizer = _make_optimizer(trained, schedule, settings.weight_decay)
            self._fitted.compile(
                optimizer=self._optimizer,
                loss=keras.losses.CategoricalCrossentropy(
                    from_logits=True, label_smoothing=settings.label_smoothing
                ),
                jit_compile=False,
            )
            self._optimizer.build(self._fitted.trainable_variables)
        self._run_steps = tf.function(self._train_steps)
        self._run_twin = tf.function(
            lambda batch: self.twin(tf.cast(batch, tf.float32), training=False),
            reduce_retracing=True,
        )

    def train(self, batches: Batches, advance: Callable[[int], None]) -> None:
        """Train for one epoch, and copy the weights to the twin.

        Args:
          batches: from `InputPipeline.make_epoch`.
          advance: callback that receives the number of batches since the last call.

        Raises:
          JobError: the number of batches differs from the settings.
        """
        iterator = iter(self._strategy.experimental_distribute_dataset(batches))
        for start in range(0, self._num_steps, _STEPS_PER_CALL):
            num_steps = min(_STEPS_PER_CALL, self._num_steps - start)
            try:
                self._run_steps(iterator, tf.constant(num_steps))
            except tf.errors.OutOfRangeError as error:
                raise JobError(SHARD_MISMATCH) from error
            advance(num_steps)
        if iterator.get_next_as_optional().has_value():
            raise JobError(SHARD_MISMATCH)
        self.twin.set_weights(self._trained.get_weights())

    def predict(
        self, batches: Iterable[npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.float32]:
        """Return the predicted probabilities of all images, shape (images, classes).

        Args:
          batches: arrays of images, uint8, shape (images, image_size, image_size, 3).
        """
        return np.concatenate([self._run_twin(batch).numpy() for batch in batches])

    def state(self) -> list[npt.NDArray]:
        """Return the values of all variables that the next epoch depends on."""
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, state: Sequence[npt.NDArray]) -> None:
        """Restore the values that `state` returned.

        Raises:
          ValueError: the state belongs to another model.
        """
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)
        self.twin.set_weights(self._trained.get_weights())

    def _train_steps(self, iterator: Any, num_steps: Tensor) -> None:
        for _ in tf.range(num_steps):
            self._strategy.run(self._fitted.train_step, args=(next(iterator),))

    def _variables(self) -> list[Variable]:
        """List the variables of the model and the optimiser.

        They include running means and the state of dropout's random generators.
        """
        return [*self._fitted.variables, *self._optimizer.variables]


def _make_schedule(learning_rate: float, num_steps: int) -> Schedule:
    num_warm_up = int(_WARM_UP * num_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if num_warm_up else learning_rate,
        decay_steps=num_steps - num_warm_up,
        warmup_target=learning_rate if num_warm_up else None,
        warmup_steps=num_warm_up,
    )


def _make_optimizer(
    model: architectures.Model, schedule: Schedule, weight_decay: float
) -> Any:
    optimizer = keras.optimizers.AdamW(schedule, weight_decay)
    # Weight decay is not applied to biases and normalisation parameters.
    vectors = [v for v in model.trainable_variables if len(v.shape) < 2]
    if vectors:
        optimizer.exclude_from_weight_decay(var_list=vectors)
    return optimizer


def _all_gpus() -> tf.distribute.Strategy:
    """Return the strategy that replicates models to all GPUs of the machine.

    With one GPU or none, the strategy replicates nothing.
    """
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _choose_policy(mixed_precision: str) -> str:
    if mixed_precision == "auto":
        details = map(
            tf.config.experimental.get_device_details,
            tf.config.list_physical_devices("GPU"),
        )
        is_fast = [
            d.get("compute_capability", (0, 0)) >= _MIN_CAPABILITY for d in details
        ]
        return "mixed_bfloat16" if is_fast and all(is_fast) else "float32"
    return "mixed_bfloat16" if mixed_precision == "true" else "float32"


class _InputData(NamedTuple):
    """Training and validation data for one image size."""

    image_size: int
    pipeline: InputPipeline
    validation: ValidationImages
    labels: npt.NDArray[np.int64]  # of the validation images


class Runner:
    """Trains several models on one dataset, one after the other.

    Args:
      training_set: the dataset.
      advance: progress callback; receives the number of images in each finished batch
        and, on resuming, in all finished epochs of a checkpoint.
      report: callback that receives the curve row of each finished epoch.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        *,
        advance: Callable[[int], None],
        report: Callable[[CurveRow], None],
    ) -> None:
        self._set = training_set
        self._advance = advance
        self._report = report
        self._input_data: _InputData | None = None

    def run(self, settings: TrainSettings, folder: str) -> Progress:
        """Train a model once per learning rate and write the results of the best run.

        Args:
          settings: settings of the model and its training.
          folder: output folder of the model; finished epochs in it are not repeated.

        Returns:
          The best run.

        Raises:
          JobError: the dataset or a checkpoint is damaged, or every run diverged.
        """
        mark_started(folder, settings)
        try:
            return self._run(settings, folder)
        except tf.errors.OpError as error:
            raise JobError(
                f"{settings.model}: {first_line(error)}; check the dataset with "
                "python -m pipelines.verify"
            ) from error

    def _run(self, settings: TrainSettings, folder: str) -> Progress:
        data = self._load_data(settings)
        finished: list[Progress] = []
        for number in range(len(settings.learning_rate)):
            for progress in self._train(settings, folder, number=number, data=data):
                training_results.write_curves(folder, [*finished, progress])
            finished.append(progress)
        best = training_results.choose_best(finished)
        trainer = self._make_trainer(settings, best.rows[-1].learning_rate)
        trainer.restore(best.state)
        training_results.write_results(
            folder,
            best=best,
            model=trainer.twin,
            settings=settings,
            training_set=self._set,
            refs=data.validation.refs,
        )
        return best

    def _train(
        self,
        settings: TrainSettings,
        folder: str,
        *,
        number: int,
        data: _InputData,
    ) -> Iterator[Progress]:
        """Train with one learning rate; yield the progress after every epoch.

        If a checkpoint exists, yield it first and continue from it.

        Args:
          settings: settings of the model and its training.
          folder: output folder of the model.
          number: index of the learning rate in the settings.
          data: training and validation data at the image size of the settings.
        """
        path = checkpoint.path_of(folder, number)
        progress = checkpoint.read(path)
        rows = progress.rows if progress else ()
        self._advance(len(rows) * self._num_images)
        if progress:
            yield progress
        if len(rows) == settings.epochs:
            return
        trainer = self._make_trainer(settings, settings.learning_rate[number])
        if progress:
            trainer.restore(progress.state)
        for epoch in range(len(rows) + 1, settings.epochs + 1):
            started = time.monotonic()
            self._train_epoch(trainer, data.pipeline.make_epoch(epoch), settings)
            outputs = trainer.predict(data.validation)
            row = CurveRow(
                dataset=self._set.name,
                subset_id=settings.subset_id,
                model=settings.model,
                seed=settings.seed,
                learning_rate=settings.learning_rate[number],
                epoch=epoch,
                epochs=settings.epochs,
                train_images=self._num_images,
                validation_images=len(outputs),
                validation_accuracy=training_results.find_accuracy(
                    outputs, data.labels
                ),
                seconds=round(time.monotonic() - started, 3),
            )
            rows = (*rows, row)
            progress = Progress(rows=rows, state=trainer.state(), outputs=outputs)
            checkpoint.write(path, progress)
            self._report(row)
            yield progress

    def _train_epoch(
        self, trainer: Trainer, batches: Batches, settings: TrainSettings
    ) -> None:
        num_remaining = self._num_images

        def count_images(num_batches: int) -> None:
            nonlocal num_remaining
            num_images = min(num_batches * settings.batch_size, num_remaining)
            num_remaining -= num_images
            self._advance(num_images)

        trainer.train(batches, count_images)

    def _make_trainer(self, settings: TrainSettings, learning_rate: float) -> Trainer:
        return Trainer(
            settings,
            learning_rate=learning_rate,
            num_classes=len(self._set.classes),
            steps_per_epoch=-(-self._num_images // settings.batch_size),
        )

    @property
    def _num_images(self) -> int:
        return len(self._set.train_keys)

    def _load_data(self, settings: TrainSettings) -> _InputData:
        """Load the data at the model's image size, or reuse the previous model's."""
        input_settings = InputSettings(
            files=self._set.shards,
            num_images=self._num_images,
            image_size=settings.image_size,
            num_classes=len(self._set.classes),
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        data = self._input_data
        if data is None or data.image_size != settings.image_size:
            self._input_data = data = None  # frees memory before the next is loaded
            validation = ValidationImages(self._set.validation, settings.preprocessing)
            label_of = {w: n for n, c in enumerate(self._set.classes) for w in c.wnids}
            data = _InputData(
                settings.image_size,
                InputPipeline(input_settings),
                validation,
                np.array([label_of[ref.wnid] for ref in validation.refs]),
            )
            self._input_data = data
        return data
