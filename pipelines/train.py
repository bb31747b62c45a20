"""Train models on a finished subset and write their files, cards and curves."""

import contextlib
import dataclasses
import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import progress, storage
from transforms.options import flag
from transforms.records import UsageError
from transforms.training import architectures, checkpoint
from transforms.training import data as training_data
from transforms.training.curves import CurveRow
from transforms.training.data import TrainingSet
from transforms.training.settings import TrainSettings, is_finished

_PROG = "python -m pipelines.train"
MIN_SIZE_PX, MAX_SIZE_PX = 8, 1024  # input size of a model
_PRECISIONS = ("auto", "true", "false")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Flags of the jobs that train models."""

    models: tuple[str, ...] = flag(
        f"models to train, separated by commas: {', '.join(architectures.SMALL)}; a "
        f"family of them with width and depth ({', '.join(architectures.FAMILIES)}), "
        f"e.g. cnn:32x3; the list {', '.join(architectures.LISTS)}; or a classifier of "
        "keras.applications by its lower-case name, e.g. resnet50. A peak learning "
        "rate may follow: cnn:32x3@0.001",
        metavar="NAME,NAME",
        choices=architectures.NAMES,
        expand=architectures.expand,
        split=",",
    )
    epochs: int = flag(
        "passes over the training images",
        default=20,
        minimum=1,
        maximum=architectures.MAX_EPOCHS,
    )
    learning_rate: tuple[float, ...] = flag(
        "peak learning rates, separated by commas; every model is trained with each, "
        "all runs are in the curves, and the best model is kept",
        default=(0.003,),
        metavar="X,X",
        above=0,
        maximum=architectures.MAX_LEARNING_RATE,
        split=",",
    )
    batch_size: int = flag(
        "images per training step",
        default=128,
        minimum=1,
        maximum=architectures.MAX_BATCH_SIZE,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingFlags, StoreFlags):
    """Train models on a subset, and measure their accuracy after every epoch.

    The same command resumes an interrupted run after its last finished epoch.
    """

    dataset: str = flag("folder of a finished subset", metavar="DIR")
    output: str = flag("folder of the models and their curves", metavar="DIR")
    train_split: str = flag("split to train on", default="train")
    validation_split: str = flag("split to measure accuracy on", default="validation")
    label_smoothing: float = flag(
        "share of each label that is spread over all classes",
        default=0.1,
        minimum=0,
        below=1,
    )
    weight_decay: float = flag(
        "decoupled weight decay: each step subtracts this share of the weights, times "
        "the learning rate",
        default=0.05,
        minimum=0,
        maximum=1,
    )
    image_size: int | None = flag(
        f"side of the model's input in pixels (default: {architectures.SMALL_PX} for "
        "the small models, otherwise the size that the model was designed for)",
        default=None,
        minimum=MIN_SIZE_PX,
        maximum=MAX_SIZE_PX,
    )
    seed: int = flag(
        "seed of the initial weights, the order of the images and the crops", default=0
    )
    mixed_precision: str = flag(
        "whether to compute in bfloat16; auto: only if all GPUs have fast bfloat16",
        default="auto",
        choices=_PRECISIONS,
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        yield from find_folder_problems(self.output)


def make_settings(
    options: TrainOptions, training_set: TrainingSet
) -> list[TrainSettings]:
    """Return the training settings of each model."""
    return [
        TrainSettings(
            subset_id=training_set.subset_id,
            train_split=options.train_split,
            validation_split=options.validation_split,
            model=name,
            image_size=options.image_size or architectures.default_size(name),
            epochs=options.epochs,
            learning_rate=architectures.choose_rates(name, options.learning_rate),
            batch_size=options.batch_size,
            label_smoothing=options.label_smoothing,
            weight_decay=options.weight_decay,
            seed=options.seed,
            mixed_precision=options.mixed_precision,
        )
        for name in options.models
    ]


def find_unfinished(
    output: str, all_settings: Sequence[TrainSettings], *, named: str
) -> dict[str, TrainSettings]:
    """Return the settings of every unfinished model, by output folder.

    Finished models are reported on stderr, and their leftover checkpoints are removed.

    Args:
      output: local folder of all models.
      all_settings: settings of the requested models.
      named: folder as the user wrote it, for messages.

    Raises:
      UsageError: a folder has results of other settings, or a model does not match
        its settings.
    """
    unfinished = {}
    problems = []
    for settings in all_settings:
        folder = str(Path(output, settings.model, f"seed{settings.seed}"))
        try:
            if is_finished(folder, settings):
                shown_folder = f"{named}{folder.removeprefix(output)}"
                sys.stderr.write(f"{shown_folder} is finished\n")
                # An interrupted run may have left its checkpoint behind.
                shutil.rmtree(Path(folder, checkpoint.FOLDER), ignore_errors=True)
            else:
                unfinished[folder] = settings
        except UsageError as error:
            problems.append(f"--output {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return unfinished


def check_sizes(all_settings: Sequence[TrainSettings], num_classes: int) -> None:
    """Check that every model can be built with its input size.

    Only models whose input is smaller than their default size are built.

    Raises:
      UsageError: the input size is too small for a model.
    """
    problems = []
    for settings in all_settings:
        name, image_size = settings.model, settings.image_size
        if image_size < architectures.default_size(name):
            try:
                architectures.build(name, image_size, num_classes, policy="float32")
            except ValueError:
                problems.append(
                    f"--image_size {image_size}: is too small for {name}; its "
                    f"default is {architectures.default_size(name)}"
                )
    if problems:
        raise UsageError("\n".join(problems))


def train(
    training_set: TrainingSet,
    unfinished: Mapping[str, TrainSettings],
    copy_back: Callable[[str], None],
) -> None:
    """Train all unfinished models.

    Args:
      training_set: images to train and to measure accuracy on.
      unfinished: training settings by output folder.
      copy_back: function that copies the results in a model's folder to the output;
        called after each model, also if its training fails.

    Raises:
      UsageError: an image size is too small for a model.
      JobError: training failed.
    """
    from transforms.models.loaders import tensorflow_start

    tensorflow_start.import_tensorflow(threads_per_operation=0)
    from transforms.training.trainer import Runner

    check_sizes(list(unfinished.values()), len(training_set.classes))
    passes = sum(len(s.learning_rate) * s.epochs for s in unfinished.values())
    with _show_progress(passes * len(training_set.train_keys)) as advance:
        runner = Runner(training_set, advance=advance, report=_report)
        for folder, settings in unfinished.items():
            try:
                best = runner.run(settings, folder).rows[-1]
            finally:
                copy_back(folder)
            tqdm.write(
                f"{settings.model}: {best.validation_accuracy:.4f} of "
                f"{best.validation_images} images correct, with learning rate "
                f"{best.learning_rate:g}",
                file=sys.stderr,
            )


@contextlib.contextmanager
def _show_progress(num_images: int) -> Iterator[Callable[[int], None]]:
    """Show a training progress bar on stderr; yield a function that advances it."""
    with progress.make_bar("training", total=num_images, unit="image") as bar:

        def advance(num_images: int) -> None:
            bar.update(num_images)

        yield advance


def _report(row: CurveRow) -> None:
    tqdm.write(
        f"{row.model}, learning rate {row.learning_rate:g}, epoch {row.epoch} of "
        f"{row.epochs}: {row.validation_accuracy:.4f}",
        file=sys.stderr,
    )


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="interrupted; run the same command again to continue"):
        options, _, _ = parse(TrainOptions, argv, prog=_PROG, takes_beam_flags=False)
        settle(options)
        check_output(options.output)
        with (
            training_data.stage_dataset(
                options.dataset, options.validation_split
            ) as dataset,
            training_data.stage_models(options.output, options.models) as output,
        ):
            training_set = training_data.read_training_set(
                dataset,
                train_split=options.train_split,
                validation_split=options.validation_split,
            )
            settings = make_settings(options, training_set)
            unfinished = find_unfinished(output, settings, named=options.output)
            if unfinished:
                copy_back = functools.partial(
                    training_data.copy_results_back,
                    output=output,
                    target=options.output,
                )
                train(training_set, unfinished, copy_back)
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
