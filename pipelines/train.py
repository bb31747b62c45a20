"""A finished subset → models trained on it: files, cards, curves, predictions."""

import contextlib
import dataclasses
import functools
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from pipelines import cli
from pipelines.cli import check_bucket, exit_codes, find_folder_problems, flag, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import progress, storage
from transforms.records import UsageError
from transforms.training import architectures, checkpoint
from transforms.training import data as training_data
from transforms.training.curves import CurveRow
from transforms.training.data import TrainingSet
from transforms.training.settings import TrainSettings, is_finished

_PROG = "python -m pipelines.train"
_SIZES_PX = (8, 1024)
_PRECISIONS = ("auto", "true", "false")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(StoreFlags):
    """Train models on a subset, and follow how right they are after every epoch.

    What was stopped goes on, behind its last whole epoch, with the same command.
    """

    dataset: str = flag("the directory of a finished subset", metavar="DIR")
    models: tuple[str, ...] = flag(
        f"small ones: {', '.join(architectures.SMALL)}; or any classifier of "
        "keras.applications by its lower-case name, e.g. resnet50",
        metavar="NAME,NAME",
    )
    output: str = flag("where the models are written", metavar="DIR")
    train_split: str = flag("the images to train on", default="train")
    validation_split: str = flag("the images to validate on", default="validation")
    epochs: int = flag("passes over the images", default=20)
    learning_rate: tuple[str, ...] = flag(
        "its peak; of several each is trained with, all are in the curves, and the "
        "best is kept",
        default=("0.003",),
        metavar="X,X",
    )
    batch_size: int = flag("images a step", default=128)
    label_smoothing: float = flag("share of a label given to all classes", default=0.1)
    weight_decay: float = flag(
        "times the learning rate: what weights lose a step", default=0.05
    )
    image_size: int | None = flag(
        f"side of the model's pictures ({architectures.SMALL_PX} for the small ones, "
        "else what the model was designed for)",
        default=None,
    )
    seed: int = flag("decides the first weights, the order and the crops", default=0)
    mixed_precision: str = flag(
        "compute in bfloat16; auto: where all GPUs do so fast",
        default="auto",
        choices=_PRECISIONS,
    )

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return _split(self.models)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from self.find_store_problems()
        yield from self._find_model_problems()
        yield from self._find_rate_problems()
        for name, most in (("epochs", 10_000), ("batch_size", 65_536)):
            if not 1 <= getattr(self, name) <= most:
                yield f"--{name} {getattr(self, name)}: must be 1 to {most}"
        if not 0 <= self.label_smoothing < 1:
            yield f"--label_smoothing {self.label_smoothing:g}: must be 0 to below 1"
        if not 0 <= self.weight_decay <= 1:
            yield f"--weight_decay {self.weight_decay:g}: must be 0 to 1"
        least, most = _SIZES_PX
        if self.image_size is not None and not least <= self.image_size <= most:
            yield f"--image_size {self.image_size}: must be {least} to {most}"
        yield from find_folder_problems(self.output)

    def _find_model_problems(self) -> Iterator[str]:
        names = _split(self.models or ())
        small = ", ".join(architectures.SMALL)
        there = f"; there are {small}, and the classifiers of keras.applications"
        for name in dict.fromkeys(names):
            if name not in architectures.NAMES:
                hint = cli.suggest(name, architectures.NAMES)
                yield f"--models {name}: no such model{hint or there}"
            elif names.count(name) > 1:
                yield f"--models {name}: is given twice"

    def _find_rate_problems(self) -> Iterator[str]:
        rates = _split(self.learning_rate)
        numbers = []
        for text in rates:
            try:
                numbers.append(float(text))
            except ValueError:
                yield f"--learning_rate {text}: is not a number"
                continue
            if not 0 < numbers[-1] <= 100 or math.isnan(numbers[-1]):
                yield f"--learning_rate {text}: must be above 0, at most 100"
        if len(set(numbers)) < len(numbers):
            yield f"--learning_rate {','.join(rates)}: one is given twice"


def _split(words: Sequence[str]) -> list[str]:
    parts = (part.strip() for word in words for part in word.split(","))
    return [part for part in parts if part]


def make_settings(options: TrainOptions, found: TrainingSet) -> list[TrainSettings]:
    """Return how each model is trained."""
    return [
        TrainSettings(
            subset_id=found.subset_id,
            train_split=options.train_split,
            validation_split=options.validation_split,
            model=name,
            image_size=options.image_size or architectures.default_size(name),
            epochs=options.epochs,
            learning_rate=tuple(map(float, _split(options.learning_rate))),
            batch_size=options.batch_size,
            label_smoothing=options.label_smoothing,
            weight_decay=options.weight_decay,
            seed=options.seed,
            mixed_precision=options.mixed_precision,
        )
        for name in options.names
    ]


def find_unfinished(
    output: str, all_settings: Sequence[TrainSettings], *, named: str
) -> dict[str, TrainSettings]:
    """Return what is still to be trained, by its folder.

    Args:
      output: the folder of all models.
      all_settings: of those that are wanted.
      named: what the user calls that folder.
    Raises: UsageError: folders hold something else; models cannot take the pictures.
    """
    unfinished = {}
    problems = []
    for settings in all_settings:
        folder = str(Path(output, settings.model, f"seed{settings.seed}"))
        try:
            if is_finished(folder, settings):
                shown = f"{named}{folder.removeprefix(output)}"
                sys.stderr.write(f"{shown} is finished\n")
                # a run may have been stopped before it tidied up
                shutil.rmtree(Path(folder, checkpoint.FOLDER), ignore_errors=True)
            else:
                unfinished[folder] = settings
        except UsageError as error:
            problems.append(f"--output {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return unfinished


def check_sizes(all_settings: Sequence[TrainSettings], num_classes: int) -> None:
    """Try to make the models whose pictures are smaller than those they are made for.

    Raises: UsageError: some cannot be.
    """
    problems = []
    for settings in all_settings:
        name, image_size = settings.model, settings.image_size
        if image_size < architectures.default_size(name):
            try:
                architectures.build(name, image_size, num_classes, policy="float32")
            except ValueError:
                problems.append(
                    f"--image_size {image_size}: is too small for {name}, made for "
                    f"{architectures.default_size(name)}"
                )
    if problems:
        raise UsageError("\n".join(problems))


def train(
    found: TrainingSet,
    unfinished: Mapping[str, TrainSettings],
    bring: Callable[[str], None],
) -> None:
    """Train all models.

    Args:
      found: what they are trained on.
      unfinished: how each is trained, by its folder.
      bring: called with a folder when something is to be kept of it.
    Raises: UsageError, JobError: what is found before and after training begins.
    """
    from transforms.models.loaders import tensorflow_start  # noqa: PLC0415  # with TensorFlow

    tensorflow_start.import_tensorflow(threads_per_operation=0)
    from transforms.training.trainer import Runner  # noqa: PLC0415  # takes seconds

    check_sizes(list(unfinished.values()), len(found.classes))
    passes = sum(len(s.learning_rate) * s.epochs for s in unfinished.values())
    with _show_progress(passes * len(found.train_keys)) as tell:
        runner = Runner(found, tell=tell, report=_report)
        for folder, settings in unfinished.items():
            try:
                best = runner.run(settings, folder).rows[-1]
            finally:
                bring(folder)
            tqdm.write(
                f"{settings.model}: {best.validation_accuracy:.4f} of "
                f"{best.validation_images} images right, with learning rate "
                f"{best.learning_rate:g}",
                file=sys.stderr,
            )


@contextlib.contextmanager
def _show_progress(num_images: int) -> Iterator[Callable[[int], None]]:
    """Show a bar over the images of all epochs on stderr."""
    with progress.make_bar("training", total=num_images, unit="image") as bar:

        def tell(count: int) -> None:
            bar.update(count)

        yield tell


def _report(row: CurveRow) -> None:
    tqdm.write(
        f"{row.model}, learning rate {row.learning_rate:g}, epoch {row.epoch} of "
        f"{row.epochs}: {row.validation_accuracy:.4f}",
        file=sys.stderr,
    )


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="stopped; the same command goes on from there"):
        options, _, _ = parse(TrainOptions, argv, prog=_PROG, takes_beam_flags=False)
        settle(options)
        check_bucket(options.output)
        with (
            training_data.stage_dataset(
                options.dataset, options.validation_split
            ) as dataset,
            training_data.stage_models(options.output, options.names) as output,
        ):
            found = training_data.read_training_set(
                dataset,
                train_split=options.train_split,
                validation_split=options.validation_split,
            )
            settings = make_settings(options, found)
            unfinished = find_unfinished(output, settings, named=options.output)
            if unfinished:
                bring = functools.partial(
                    training_data.copy_results_back,
                    output=output,
                    target=options.output,
                )
                train(found, unfinished, bring)
    sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
