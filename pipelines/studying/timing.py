"""Estimate the time that the remaining steps of a study take."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class ImagesSeen(NamedTuple):
    """The training of models on one set with one seed, in images seen."""

    folder: str
    models: tuple[str, ...]
    seed: int
    num_train: int
    epochs: int
    num_rates: int

    @property
    def seconds(self) -> float:
        """Measured training time of all models."""
        return sum(
            spent
            for model in self.models
            for _, spent in _read_curves(Path(self.folder, model, f"seed{self.seed}"))
        )

    @property
    def num_images(self) -> int:
        """Number of images that all models see in total."""
        return len(self.models) * self._images_per_model

    @property
    def _images_per_model(self) -> int:
        return self.num_train * self.epochs * self.num_rates

    def remaining(self) -> Iterator[tuple[str, int]]:
        """Yield each model and the number of images that it has not yet seen."""
        for model in self.models:
            rows = _read_curves(Path(self.folder, model, f"seed{self.seed}"))
            done = sum(images for images, _ in rows)
            yield model, max(self._images_per_model - done, 0)


class StepTime(NamedTuple):
    """What is known of the time of a step.

    Attributes:
      job: name of a module of pipelines/.
      num_images: images that a build writes.
      training: what a training step trains; None for other jobs.
      seconds: time of the whole process; None if the step is not finished, NaN if it
        was not measured.
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
      unmeasured: jobs of which no step is finished; they count as start-up only.
    """

    training_s: float
    other_s: float
    unmeasured: tuple[str, ...]


def _read_curves(folder: Path) -> list[tuple[int, float]]:
    """Read (images, seconds) of each finished epoch."""
    try:
        with (folder / "curves.csv").open() as file:
            return [
                (int(row["train_images"]), float(row["seconds"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError):
        return []  # the evaluation reports what is wrong


def estimate_training(trainings: Sequence[ImagesSeen]) -> float | None:
    """Estimate the remaining seconds of training; None before any model is trained.

    A model without measurements is assumed to be as fast as the harmonic mean of the
    others.
    """
    speeds: dict[str, float] = {}
    for model in {model for run in trainings for model in run.models}:
        rows = [
            row
            for run in trainings
            for row in _read_curves(Path(run.folder, model, f"seed{run.seed}"))
        ]
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
    """Estimate the remaining time; None before any model is trained.

    The shortest measured step is taken for the start-up of a process. A build takes
    that and a time per image; a training step takes the measured difference between its
    process and its epochs; any other job takes the mean of its finished steps.
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
    """Return the time of a finished step, without its training."""
    trained_s = step.training.seconds if step.training else 0
    return max((step.seconds or 0) - trained_s, 0)


def _find_mean(steps: Sequence[StepTime]) -> float:
    return sum(map(_find_seconds, steps)) / len(steps)


def format_duration(seconds: float) -> str:
    """Format a duration in the largest suitable unit."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def describe_time(steps: Sequence[StepTime]) -> str:
    """Describe the remaining time."""
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
