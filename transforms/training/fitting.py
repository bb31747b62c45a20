"""One model at one learning rate ↔ its state between epochs: trained, asked, kept.

AdamW trains all families of models without settings of their own; the rate rises to its
peak, then falls along a cosine to nothing at the last step. Weights stay float32, also
where it is computed in less, and a twin in float32 is what is asked and saved: it says
the same on every machine.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms import seeds
from transforms.training import architectures

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
