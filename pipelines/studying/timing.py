"""Estimate the time that the remaining steps of a study take."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from transforms.training import architectures


class ImagesSeen(NamedTuple):
    """One training run: models trained on one set with one seed.

    Attributes:
      folder: folder of all models of the set.
      models: names of the models.
      seed: random seed.
      num_train: number of training images of the set.
      epochs: passes over the training images.
      rates: learning rates of models whose names contain none.
      curves: path of the curves of all models, if the folders of the models are gone.
    """

    folder: str
    models: tuple[str, ...]
    seed: int
    num_train: int
    epochs: int
    rates: tuple[float, ...]
    curves: str = ""

    @property
    def seconds(self) -> float:
        """Measured training time of all models so far, in seconds."""
        return sum(
            spent for model in self.models for _, spent in self.read_epochs(model)
        )

    @property
    def num_images(self) -> int:
        """Number of images that all models see in total."""
        return sum(map(self._count_images, self.models))

    def _count_images(self, model: str) -> int:
        rates = architectures.choose_rates(model, self.rates)
        return self.num_train * self.epochs * len(rates)

    def read_epochs(self, model: str) -> list[tuple[int, float]]:
        """Return (images, seconds) of each finished epoch of a model."""
        path = Path(self.folder, model, f"seed{self.seed}", "curves.csv")
        return _read_curves(path if path.exists() else Path(self.curves), model)

    def remaining(self) -> Iterator[tuple[str, int]]:
        """Yield each model and the number of images that it has not yet seen."""
        for model in self.models:
            done = sum(images for images, _ in self.read_epochs(model))
            yield model, max(self._count_images(model) - done, 0)


class StepTime(NamedTuple):
    """The measured time of a step, and the quantities that predict it.

    Attributes:
      job: name of a module of pipelines/.
      num_images: number of images that a build writes.
      training: the training run of a training step; None for other jobs.
      seconds: run time of the process in seconds; None if the step is not finished,
        NaN if the time was not recorded.
    """

    job: str
    num_images: int
    training: ImagesSeen | None
    seconds: float | None


class TimeLeft(NamedTuple):
    """An estimate of the time that remains.

    Attributes:
      training_s: seconds of training.
      other_s: seconds of other jobs, and of the start-up of training.
      unmeasured: jobs without a finished step; only their start-up is counted.
    """

    training_s: float
    other_s: float
    unmeasured: tuple[str, ...]


def _read_curves(path: Path, model: str) -> list[tuple[int, float]]:
    """Return (images, seconds) of each finished epoch; [] without valid curves."""
    try:
        with path.open() as file:
            return [
                (int(row["train_images"]), float(row["seconds"]))
                for row in csv.DictReader(file)
                if row["model"] == model
            ]
    except (OSError, KeyError, TypeError, ValueError):
        return []  # the evaluation reports what is wrong


def estimate_training(trainings: Sequence[ImagesSeen]) -> float | None:
    """Estimate the remaining seconds of training; None until an epoch has finished.

    A model without measurements is assumed to be as fast as the harmonic mean of the
    others.
    """
    speeds: dict[str, float] = {}
    for model in {model for run in trainings for model in run.models}:
        rows = [row for run in trainings for row in run.read_epochs(model)]
        seconds = sum(spent for _, spent in rows)
        if seconds > 0:
            speeds[model] = sum(images for images, _ in rows) / seconds
    if not speeds:
        return None
    mean_speed = len(speeds) / sum(1 / speed for speed in speeds.values())
    return sum(
        images / speeds.get(model, mean_speed)
        for run in trainings
        for model, images in run.remaining()
    )


def estimate(steps: Sequence[StepTime]) -> TimeLeft | None:
    """Estimate the remaining time; None until an epoch has finished.

    The shortest measured step approximates the start-up time of a process. A build is
    estimated as the start-up time plus a time per image; any other job as the
    mean of its finished steps, or as the start-up time if none has finished. The epochs
    of training are estimated separately.
    """
    runs = [step.training for step in steps if step.training]
    training_s = estimate_training(runs)
    if training_s is None:
        return None
    measured: dict[str, list[StepTime]] = {}
    for step in steps:
        if step.seconds is not None and step.seconds >= 0:  # not NaN
            measured.setdefault(step.job, []).append(step)
    costs = {job: _find_mean(done) for job, done in measured.items()}
    start_up = min((_find_seconds(s) for d in measured.values() for s in d), default=0)
    builds = measured.get("build", [])
    writing_s = sum(max(_find_seconds(step) - start_up, 0) for step in builds)
    per_image = writing_s / max(sum(step.num_images for step in builds), 1)
    other_s = 0.0
    unmeasured: dict[str, None] = {}
    for step in steps:
        if step.seconds is not None:
            continue
        if step.job not in measured:
            unmeasured[step.job] = None
        if step.job == "build":
            other_s += start_up + per_image * step.num_images
        else:
            other_s += costs.get(step.job, start_up)
    return TimeLeft(training_s, other_s, tuple(unmeasured))


def _find_seconds(step: StepTime) -> float:
    """Return the seconds of a finished step, without those of its training epochs."""
    trained_s = step.training.seconds if step.training else 0
    return max((step.seconds or 0) - trained_s, 0)


def _find_mean(steps: Sequence[StepTime]) -> float:
    return sum(map(_find_seconds, steps)) / len(steps)


def format_duration(seconds: float) -> str:
    """Format a duration in the largest suitable unit, e.g. "2.5 hours"."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def describe_time(steps: Sequence[StepTime]) -> str:
    """Describe the estimated remaining time in one line."""
    if all(step.seconds is not None for step in steps):
        return "time: no training is left"
    left = estimate(steps)
    if left is None:
        return (
            "time: unknown until a model has been trained; printed after every step "
            "and by --dry_run"
        )
    total, training, other = map(
        format_duration,
        (left.training_s + left.other_s, left.training_s, left.other_s),
    )
    text = (
        f"time: about {total} are left at the measured speed: {training} of training, "
        f"{other} of builds, evaluations and start-up"
    )
    if left.unmeasured:
        text += f" (not measured yet: {', '.join(left.unmeasured)})"
    return text
