"""The flags of the study job, and what may be wrong with them."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines import cli
from pipelines.cli import flag
from pipelines.train import TrainOptions
from transforms.training import architectures


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Compare recipes of subsets, by models trained on each and on the full set.

    Every step is a job of its own, so that a study that was stopped goes on with the
    same command; more recipes, models or seeds may be added to it.
    """

    input: tuple[str, ...] = flag(
        "raw ImageNet (archive or folder; repeatable) or an index", metavar="PATH"
    )
    output: str = flag("folder of all that is made", metavar="DIR")
    recipes: str | None = flag(
        "JSON: a list of recipes, each a name and flags of python -m pipelines.build "
        "(every grouping × sampler × size that the input can serve)",
        default=None,
        metavar="FILE",
    )
    models: tuple[str, ...] = flag(
        "what is trained on each set, as python -m pipelines.train knows them",
        default=architectures.SMALL,
        metavar="NAME,NAME",
    )
    reference_model: str | None = flag(
        "what is trained on halves of the images to find confusion and difficulty (the "
        "first of --models)",
        default=None,
        metavar="NAME",
    )
    seeds: tuple[str, ...] = flag(
        "with each of which every model is trained", default=("0",), metavar="N,N"
    )
    epochs: int = flag("passes over the images", default=20)
    subset_epochs: int | None = flag(
        "passes over the images of a subset (as many)", default=None
    )
    learning_rate: tuple[str, ...] = flag(
        "its peak; of several each is tried", default=("0.003",), metavar="X,X"
    )
    batch_size: int = flag("images a step", default=128)
    image_size: int = flag("side of the pictures that are built", default=256)
    train_size: int | None = flag(
        "side of the models' pictures (as python -m pipelines.train has it)",
        default=None,
    )
    validation_labels: str | None = flag(
        "labels of flat validation images", default=None, metavar="FILE"
    )
    groups: str | None = flag(
        "a table of groups, for recipes with grouping manual",
        default=None,
        metavar="FILE",
    )
    confusion: str | None = flag(
        "a confusion matrix to use instead of one made by the study",
        default=None,
        metavar="FILE",
    )
    difficulty: str | None = flag(
        "a table of difficulty to use instead of one made by the study",
        default=None,
        metavar="FILE",
    )
    seed: int = flag("decides which classes and images are chosen", default=0)
    dry_run: bool = flag("tell what would be done, and write nothing", default=False)

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds of training; words that are no numbers are left out."""
        return [int(w) for w in split(self.seeds) if w.isdecimal()]

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from self._find_seed_problems()
        if self.models is not None:
            for problem in self._make_train_options().problems():
                yield problem.replace("--image_size", "--train_size")
            yield from self._find_few_models()
        if self.subset_epochs is not None and not 1 <= self.subset_epochs <= 10_000:
            yield f"--subset_epochs {self.subset_epochs}: must be 1 to 10000"
        reference = self.reference_model
        if reference is not None and reference not in architectures.NAMES:
            hint = cli.suggest(reference, architectures.NAMES)
            yield f"--reference_model {reference}: no such model{hint}"
        if not 8 <= self.image_size <= 4096:
            yield f"--image_size {self.image_size}: must be 8 to 4096"
        for name in ("recipes", "groups", "confusion", "difficulty"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                yield f"--{name} {path}: no such file"

    def _find_seed_problems(self) -> Iterator[str]:
        words = split(self.seeds)
        for word in words:
            if not word.isdecimal():
                yield f"--seeds {word}: is not a whole number"
        if len(set(self.seed_numbers)) < len(self.seed_numbers):
            yield f"--seeds {','.join(words)}: one is given twice"

    def _find_few_models(self) -> Iterator[str]:
        from transforms.evaluation import ranking  # noqa: PLC0415  # SciPy takes a second

        names = split(self.models)
        if len(names) < ranking.MIN_MODELS:
            yield (
                f"--models {','.join(names)}: a ranking needs {ranking.MIN_MODELS}, "
                "better 6 or more"
            )

    def _make_train_options(self) -> TrainOptions:
        """Make those of the train job, which knows what is wrong with them."""
        return TrainOptions(
            dataset="",
            models=self.models,
            output=self.output,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            image_size=self.train_size,
        )

    @property
    def train_words(self) -> tuple[str, ...]:
        """The words of the train job, whatever it trains on."""
        words = [
            f"--learning_rate={','.join(split(self.learning_rate))}",
            f"--batch_size={self.batch_size}",
        ]
        if self.train_size is not None:
            words.append(f"--image_size={self.train_size}")
        return tuple(words)


def split(words: Sequence[str]) -> list[str]:
    """Split words at commas."""
    return [part.strip() for word in words for part in word.split(",")]
