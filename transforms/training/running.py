"""Settings and a dataset → a trained model: every learning rate, epoch by epoch.

A run that was stopped goes on behind its last whole epoch, and ends as if it had not
been stopped.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms.models.loaded import first_line
from transforms.records import JobError
from transforms.tables.curves import CurveRow
from transforms.training import checkpoint, outcome
from transforms.training.checkpoint import Reached
from transforms.training.fitting import FitSettings, Trainer
from transforms.training.input_pipeline import MISFIT, Feed, InputPipeline
from transforms.training.settings import TrainSettings, mark_started
from transforms.training.training_set import TrainingSet
from transforms.training.validation_pictures import ValidationPictures

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

    def run(self, settings: TrainSettings, folder: str) -> Reached:
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

    def _run(self, settings: TrainSettings, folder: str) -> Reached:
        supply = self._find_supply(settings)
        ended: list[Reached] = []
        for number in range(len(settings.learning_rate)):
            for reached in self._train(settings, folder, number, supply):
                outcome.write_curves(folder, [*ended, reached])
            ended.append(reached)
        best = outcome.choose_best(ended)
        trainer = self._make_trainer(settings, best.rows[-1].learning_rate)
        trainer.restore(best.state)
        outcome.write_outcome(
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
    ) -> Iterator[Reached]:
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
                validation_accuracy=outcome.find_accuracy(outputs, supply.labels),
                seconds=round(time.monotonic() - started, 3),
            )
            rows = (*rows, row)
            reached = Reached(rows=rows, state=trainer.state(), outputs=outputs)
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
            pictures = ValidationPictures(self._set.validation, settings.preprocessing)
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
    pictures: ValidationPictures
    labels: npt.NDArray[np.int64]  # of the pictures
