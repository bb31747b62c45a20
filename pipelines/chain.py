"""Run the jobs from raw images to a subset with a flat difficulty histogram."""

import dataclasses
import datetime
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines import commands
from pipelines.cli import exit_codes, find_folder_problems, parse
from pipelines.commands import FOLDS, Places, Step, Training
from pipelines.input_flags import NO_PATH
from transforms import formats
from transforms.options import flag
from transforms.records import UsageError
from transforms.training import architectures

_PROG = "python -m pipelines.chain"
_HALVES = "halves"
_MINIATURE = (  # replaces defaults without --input
    *("--num_groups=5", "--images_per_group=60", "--min_validation_images=400"),
    *("--image_size=64", "--model=cnn_small", "--epochs=8"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainOptions:
    """Run the jobs from raw images to a subset with a flat difficulty histogram.

    A model is trained on each half of the images and predicts the other half. These
    predictions determine the groups (by confusion) and the selection of images (by
    difficulty). Every step runs as a separate job; the same command continues an
    interrupted chain.
    """

    input: tuple[str, ...] = flag(
        "raw ImageNet (archives or folders; repeatable) (default: draw a miniature, "
        f"with {' '.join(_MINIATURE)})",
        default=(),
        metavar="PATH",
        absent=NO_PATH,
    )
    validation_labels: str | None = flag(
        "table of the labels of validation images without class folders, as in "
        "pipelines.index",
        default=None,
        metavar="FILE",
        absent="no such file",
    )
    output: str = flag("local folder of all results", default="chain", metavar="DIR")
    name: str = flag(
        "name of the subset; a new name builds another subset with the same models",
        default="flat",
    )
    num_groups: int = flag("number of groups, N", default=20, minimum=2)
    images_per_group: int = flag(
        "training images per group, M", default=5000, minimum=1
    )
    min_validation_images: int = flag(
        "smallest number of validation images in the subset, as in pipelines.build",
        default=10_000,
        minimum=0,
    )
    image_size: int = flag(
        "shorter side of the written images in pixels; 224 is the input of most "
        "published models",
        default=224,
        minimum=8,
        maximum=4096,
    )
    model: str = flag(
        "model to train on each half, as in pipelines.train; resnet50 is the usual "
        "reference on ImageNet",
        default="resnet50",
        metavar="NAME",
        choices=architectures.NAMES,
    )
    # Published ResNet-50s reach 74% top-1 after 16 epochs of ImageNet, 78% after 88.
    epochs: int = flag(
        "epochs on each half; 32 take as many steps as 16 epochs on all of ImageNet",
        default=32,
        minimum=1,
        maximum=architectures.MAX_EPOCHS,
    )
    learning_rate: float = flag(
        "peak learning rate, as in pipelines.train",
        default=0.003,
        above=0,
        maximum=architectures.MAX_LEARNING_RATE,
    )
    batch_size: int = flag(
        "images per training step; smaller batches need less GPU memory",
        default=128,
        minimum=1,
        maximum=architectures.MAX_BATCH_SIZE,
    )
    dry_run: bool = flag("print the commands without running them", default=False)

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from find_folder_problems(self.output)
        if "://" in self.output:
            yield f"--output {self.output}: models are trained locally; name a folder"
        if "" in self.input:
            yield "--input: is empty; give a path"
        if problem := formats.find_name_problem(self.name):
            yield f"--name {self.name}: {problem}"
        if self.name == _HALVES:
            yield f"--name {self.name}: is reserved by the chain; give another name"

    def describe(self) -> str:
        """Summarise the options in one line."""
        return (
            f"{self.name}: {self.num_groups} groups of {self.images_per_group} "
            f"training images, at least {self.min_validation_images} validation "
            f"images, {self.image_size} pixels; {self.model} is trained on each half "
            f"for {self.epochs} epochs, with learning rate {self.learning_rate:g} and "
            f"batches of {self.batch_size}"
        )


def list_steps(options: ChainOptions, places: Places) -> list[Step]:
    """List all steps of the chain in the order in which they run."""
    from transforms import storage
    from transforms.training import data as training_data

    steps = []
    inputs, labels = options.input, options.validation_labels
    if not inputs:
        inputs = (f"{places.root}/miniature_imagenet",)
        flags = {"output": places.root, "plan_only": True}
        steps.append(Step("miniature", "build", flags, *inputs))
    images = {"image_size": options.image_size}
    training = Training(
        models=(options.model,),
        seeds=(0,),
        epochs=options.epochs,
        words=(
            f"--learning_rate={options.learning_rate}",
            f"--batch_size={options.batch_size}",
        ),
    )
    halves = {"grouping": "all_classes", "folds": 2, "min_validation_images": 0}
    subset = {
        "grouping": "confusion",
        "confusion": places.confusion,
        "sampling": "difficulty",
        "difficulty": places.difficulty,
        "num_groups": options.num_groups,
        "images_per_group": options.images_per_group,
        "min_validation_images": options.min_validation_images,
    }
    build = commands.build(
        places,
        options.name,
        subset | images,
        files=(places.confusion, places.difficulty),
    )
    plan = build._replace(
        name=f"plan_{options.name}",
        flags={**build.flags, "plan_only": True},
        result=f"{places.dataset(options.name)}.plan/plan.html",
    )
    return [
        *steps,
        commands.index(
            places,
            [*map(storage.absolute, inputs)],
            **({"validation_labels": storage.absolute(labels)} if labels else {}),
        ),
        commands.build(
            places, _HALVES, halves | images | {"formats": training_data.FORMAT}
        ),
        *commands.cross_fit(places, _HALVES, training),
        commands.confusion(places, FOLDS, {"soft": True}),
        commands.difficulty(places, {"input": places.dataset(_HALVES)}),
        plan,
        build,
    ]


def check_size(options: ChainOptions, index: str) -> None:
    """Check that the input has enough classes and training images for the subset.

    Raises:
      UsageError: the input has too few classes or training images.
    """
    from transforms.index.inventory import read_inventory

    inventory = read_inventory(index)
    groups, images = options.num_groups, options.images_per_group
    num_classes, num_train = len(inventory.wnids()), inventory.total("train")
    missing = options.min_validation_images - inventory.total("validation")
    free = num_train - max(missing, 0)
    problems = []
    if groups > num_classes:
        problems.append(
            f"--num_groups {groups}: the input has {num_classes} classes; give fewer "
            "groups"
        )
    if groups * images > free:
        problems.append(
            f"--images_per_group {images}: {groups} groups need {groups * images} "
            f"training images; the input has {num_train}, of which {num_train - free} "
            "are held out to reach --min_validation_images; reduce one of them"
        )
    if problems:
        raise UsageError("\n".join(problems))


def run_chain(options: ChainOptions, places: Places) -> None:
    """Run all unfinished steps of the chain in order.

    Raises:
      UsageError: a step rejected its input, the output contains a chain of another
        input, or the input has too few classes or images.
      JobError: a step failed.
    """
    from pipelines.step_runner import Runner, acquire_folder

    steps = list_steps(options, places)
    begun = time.monotonic()
    with acquire_folder(places.root) as lock:
        runner = Runner(places.root, lock)
        for number, step in enumerate(steps, 1):
            elapsed = datetime.timedelta(seconds=round(time.monotonic() - begun))
            is_finished = runner.is_finished(step)
            state = "finished before" if is_finished else f"{elapsed} elapsed"
            sys.stderr.write(f"step {number} of {len(steps)}: {step.name}, {state}\n")
            if step.job == "index" and runner.is_another(step):
                raise UsageError(
                    f"--output {options.output}: contains a chain of another --input; "
                    "give another folder"
                )
            runner.run_required(step)
            if step.job == "index":
                check_size(options, places.index)
    elapsed = datetime.timedelta(seconds=round(time.monotonic() - begun))
    sys.stderr.write(f"all {len(steps)} steps are finished, {elapsed} elapsed\n")


def _parse(argv: Sequence[str]) -> ChainOptions:
    return parse(ChainOptions, argv, prog=_PROG, takes_beam_flags=False)[0]


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="interrupted; run the same command again to continue"):
        options = _parse(argv)
        if not options.input:
            options = _parse([*_MINIATURE, *argv])
        root = str(Path(options.output).absolute())
        places = Places(root, datasets=root)
        sys.stderr.write(f"{options.describe()}\n")
        if options.dry_run:
            for step in list_steps(options, places):
                words = ["python", "-m", f"pipelines.{step.job}", *step.words]
                sys.stdout.write(f"{shlex.join(words)}\n")
            return
        run_chain(options, places)
    sys.stdout.write(f"{places.dataset(options.name)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
