"""One model at one learning rate ↔ its state between epochs: trained, asked, kept.

AdamW trains all families of models without settings of their own; the rate rises to its
peak, then falls along a cosine to nothing at the last step. Weights stay float32, also
where it is computed in less, and a twin in float32 is what is asked and saved: it says
the same on every machine.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from transforms.training.data import MISFIT, Feed, InputPipeline, TrainingSet
from transforms.training.results import ValidationImages
from transforms.training.settings import TrainSettings, mark_started

Variable: TypeAlias = Any  # Keras has no types

_WARM_UP = 0.05  # of all steps
_NEEDED_CAPABILITY = (8, 0)  # of a GPU, to compute in bfloat16 fast
_MAX_SEED = 1 << 31  # of Keras


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a model is trained."""

    model: str
    image_size: int
    num_classes: int
    epochs: int
    steps_per_epoch: int
    learning_rate: float  # at its peak
    label_smoothing: float
    weight_decay: float
    seed: int  # of the first weights
    mixed_precision: str  # auto | true | false


class Trainer:
    """A model that is trained, and its twin that is asked."""

    def __init__(self, settings: FitSettings) -> None:
        keras.backend.clear_session()  # names of layers count from the start again
        seed = seeds.order(settings.seed, "draw", "weights") % _MAX_SEED
        keras.utils.set_random_seed(seed)
        self.twin = _build(settings, "float32")
        with _all_gpus():
            trained = _build(settings, _choose_policy(settings.mixed_precision))
            trained.set_weights(self.twin.get_weights())
            self._trained = trained
            # Its loss is computed of logits, which loses no digits.
            self._fitted = keras.Model(trained.inputs, trained.layers[-1].input)
            self._optimizer = _make_optimizer(settings, trained)
            self._fitted.compile(
                optimizer=self._optimizer,
                loss=keras.losses.CategoricalCrossentropy(
                    from_logits=True, label_smoothing=settings.label_smoothing
                ),
                jit_compile=False,
            )
            self._optimizer.build(self._fitted.trainable_variables)
        self._ask = tf.function(
            lambda batch: self.twin(tf.cast(batch, tf.float32), training=False),
            reduce_retracing=True,
        )

    def train(self, batches: tf.data.Dataset, tell: Callable[[], None]) -> None:
        """Train for an epoch; tells of every batch."""
        told = _BatchCallback(tell)
        self._fitted.fit(batches, shuffle=False, verbose=0, callbacks=[told])
        self.twin.set_weights(self._trained.get_weights())

    def ask(self, pictures: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Ask of all pictures; returns probabilities, shape (images, classes)."""
        return np.concatenate([self._ask(batch).numpy() for batch in pictures])

    def state(self) -> list[npt.NDArray]:
        """Return all that the next epoch depends on."""
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, state: Sequence[npt.NDArray]) -> None:
        """Go back to a state.

        Raises: ValueError: it is of another model.
        """
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)
        self.twin.set_weights(self._trained.get_weights())

    def _variables(self) -> list[Variable]:
        """Gather weights, running means, the state of dropout, and the optimiser's."""
        return [*self._fitted.variables, *self._optimizer.variables]


class _BatchCallback(keras.callbacks.Callback):  # type: ignore[misc]  # no types
    """Tells of every batch."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        """Tell of a batch."""
        self._tell()


def _build(settings: FitSettings, policy: str) -> architectures.Model:
    return architectures.build(
        settings.model, settings.image_size, settings.num_classes, policy=policy
    )


def _make_optimizer(settings: FitSettings, model: architectures.Model) -> Any:  # noqa: ANN401
    num_steps = settings.epochs * settings.steps_per_epoch
    num_rising = int(_WARM_UP * num_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if num_rising else settings.learning_rate,
        decay_steps=num_steps - num_rising,
        warmup_target=settings.learning_rate if num_rising else None,
        warmup_steps=num_rising,
    )
    optimizer = keras.optimizers.AdamW(schedule, settings.weight_decay)
    # Biases, and what scales and shifts: decay would pull them to what they are not.
    flat = [v for v in model.trainable_variables if len(v.shape) < 2]
    if flat:
        optimizer.exclude_from_weight_decay(var_list=flat)
    return optimizer


def _all_gpus() -> contextlib.AbstractContextManager:
    """Return what makes a model be trained by all GPUs of this machine."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()


def _choose_policy(mixed_precision: str) -> str:
    if mixed_precision == "auto":
        details = map(
            tf.config.experimental.get_device_details,
            tf.config.list_physical_devices("GPU"),
        )
        able = [
            d.get("compute_capability", (0, 0)) >= _NEEDED_CAPABILITY for d in details
        ]
        return "mixed_bfloat16" if able and all(able) else "float32"
    return "mixed_bfloat16" if mixed_precision == "true" else "float32"


Batches: TypeAlias = Any  # a tf.data.Dataset; TensorFlow has no types
Tell = Callable[[int], None]  # of so many images done


class Runner:
    """Trains models on one dataset, one after the other.

    Args:
      training_set: what they are trained on.
      tell: is called with a number of images when these are done.
      report: is called with every epoch's row.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        *,
        tell: Tell,
        report: Callable[[CurveRow], None],
    ) -> None:
        self._set = training_set
        self._tell = tell
        self._report = report
        self._supply: _Supply | None = None

    def run(self, settings: TrainSettings, folder: str) -> Progress:
        """Train a model with every learning rate, and keep the best.

        Raises: JobError: the dataset is damaged, or the model diverged.
        """
        mark_started(folder, settings)
        try:
            return self._run(settings, folder)
        except tf.errors.OpError as error:
            raise JobError(
                f"{settings.model}: {first_line(error)}; if it is the dataset, see "
                "what is wrong with python -m pipelines.verify"
            ) from error

    def _run(self, settings: TrainSettings, folder: str) -> Progress:
        supply = self._find_supply(settings)
        ended: list[Progress] = []
        for number in range(len(settings.learning_rate)):
            for reached in self._train(settings, folder, number, supply):
                training_results.write_curves(folder, [*ended, reached])
            ended.append(reached)
        best = training_results.choose_best(ended)
        trainer = self._make_trainer(settings, best.rows[-1].learning_rate)
        trainer.restore(best.state)
        training_results.write_outcome(
            folder,
            best=best,
            model=trainer.twin,
            settings=settings,
            training_set=self._set,
            refs=supply.pictures.refs,
        )
        return best

    def _train(
        self, settings: TrainSettings, folder: str, number: int, supply: "_Supply"
    ) -> Iterator[Progress]:
        """Train with one learning rate; yields what was reached, then each epoch."""
        path = checkpoint.path_of(folder, number)
        reached = checkpoint.read(path)
        rows = reached.rows if reached else ()
        self._tell(len(rows) * self._num_images)
        if reached:
            yield reached
        if len(rows) == settings.epochs:
            return
        trainer = self._make_trainer(settings, settings.learning_rate[number])
        if reached:
            trainer.restore(reached.state)
        for epoch in range(len(rows) + 1, settings.epochs + 1):
            started = time.monotonic()
            self._train_epoch(trainer, supply.pipeline.make_epoch(epoch), settings)
            outputs = trainer.ask(supply.pictures)
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
                    outputs, supply.labels
                ),
                seconds=round(time.monotonic() - started, 3),
            )
            rows = (*rows, row)
            reached = Progress(rows=rows, state=trainer.state(), outputs=outputs)
            checkpoint.write(path, reached)
            self._report(row)
            yield reached

    def _train_epoch(
        self, trainer: Trainer, batches: Batches, settings: TrainSettings
    ) -> None:
        waiting = self._num_images

        def tell() -> None:
            nonlocal waiting
            done = min(settings.batch_size, waiting)
            waiting -= done
            self._tell(done)

        trainer.train(batches, tell)
        if waiting:
            raise JobError(MISFIT)

    def _make_trainer(self, settings: TrainSettings, learning_rate: float) -> Trainer:
        return Trainer(
            FitSettings(
                model=settings.model,
                image_size=settings.image_size,
                num_classes=len(self._set.classes),
                epochs=settings.epochs,
                steps_per_epoch=-(-self._num_images // settings.batch_size),
                learning_rate=learning_rate,
                label_smoothing=settings.label_smoothing,
                weight_decay=settings.weight_decay,
                seed=settings.seed,
                mixed_precision=settings.mixed_precision,
            )
        )

    @property
    def _num_images(self) -> int:
        return len(self._set.train_keys)

    def _find_supply(self, settings: TrainSettings) -> "_Supply":
        """Make what feeds a model, or take what fed the one before."""
        feed = Feed(
            files=self._set.shards,
            sizes=self._set.train_sizes,
            image_size=settings.image_size,
            num_classes=len(self._set.classes),
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        if self._supply is None or self._supply.image_size != settings.image_size:
            self._supply = None  # so that both are never in memory
            pictures = ValidationImages(self._set.validation, settings.preprocessing)
            label_of = {w: n for n, c in enumerate(self._set.classes) for w in c.wnids}
            self._supply = _Supply(
                settings.image_size,
                InputPipeline(feed),
                pictures,
                np.array([label_of[ref.wnid] for ref in pictures.refs]),
            )
        return self._supply


class _Supply(NamedTuple):
    """What feeds models of one image size."""

    image_size: int
    pipeline: InputPipeline
    pictures: ValidationImages
    labels: npt.NDArray[np.int64]  # of the pictures
