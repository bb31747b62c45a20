"""A study's flags and recipes → its steps: one process each of another job.

index → full set → (halves → two models → predictions → confusion, difficulty)
      → for each recipe: build → train → evaluate
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.difficulty import TABLE
from pipelines.studying.recipes import FULL, HALVES, Recipe
from pipelines.studying.running import Step
from transforms import paths

_VERSION = "1.0.0"
FOLDS = ("fold_a", "fold_b")


class Training(NamedTuple):
    """How models are trained, as words of the train job."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    words: tuple[str, ...]


class Places:
    """Where all that a study makes lies, below one folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.index = f"{root}/index.parquet"
        self.datasets = f"{root}/datasets"
        self.confusion = f"{root}/confusion/confusion.npz"
        self.difficulty = f"{root}/difficulty/{TABLE}"

    def dataset(self, name: str) -> str:
        """Name the directory of a dataset."""
        return f"{self.datasets}/{name}/{_VERSION}"

    def mark(self, name: str) -> str:
        """Name the file that tells of a dataset whether it is finished, and which."""
        return f"{self.dataset(name)}/{paths.COMPLETE}"

    def models(self, name: str) -> str:
        """Name the folder of the models that are trained on a set."""
        return f"{self.root}/models/{name}"

    def report(self, name: str) -> str:
        """Name the report of a recipe."""
        return f"{self.root}/evaluations/{name}/report.json"

    def curves(self, name: str, training: Training) -> list[str]:
        """Name the curves of all models that are trained on a set."""
        return [
            f"{self.models(name)}/{model}/seed{seed}/curves.csv"
            for model in training.models
            for seed in training.seeds
        ]


def list_index_step(places: Places, inputs: Sequence[str], labels: str | None) -> Step:
    """Return the step that finds the images."""
    words = ["--input", *map(_absolute, inputs), "--output", places.index]
    if labels:
        words += ["--validation_labels", _absolute(labels)]
    files = (labels,) if labels else ()
    return Step("index", "index", tuple(words), places.index, files)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())


class Steps:
    """Makes the steps behind the index.

    Args:
      places: where all lies.
      index: of the images.
      common: flags of all datasets that the study makes for itself.
    """

    def __init__(self, places: Places, index: str, common: Sequence[str]) -> None:
        self._places = places
        self._index = _absolute(index)
        self._common = tuple(common)

    def list_full(self, training: Training) -> list[Step]:
        """Build the full set, and train all models on it."""
        words = (*self._common, "--grouping=all_classes")
        return [self._build(FULL, words), *self._train(FULL, training)]

    def list_references(
        self, model: str, training: Training, *, confusion: bool, difficulty: bool
    ) -> list[Step]:
        """Train a model on each half of the images, and ask it of the other half."""
        places = self._places
        words = (*self._common, "--grouping=all_classes", "--folds=2")
        steps = [self._build(HALVES, words)]
        one = training._replace(models=(model,), seeds=training.seeds[:1])
        for fold in FOLDS:
            more = (f"--train_split={fold}", *training.words)
            own = one._replace(words=more)
            steps += self._train(fold, own, dataset=HALVES)
        files = []
        for fold, other in zip(FOLDS, reversed(FOLDS), strict=True):
            file = f"{places.root}/predictions/{fold}.parquet"
            files.append(file)
            folder = f"{places.models(other)}/{model}/seed{one.seeds[0]}"
            words = (
                f"--input={places.dataset(HALVES)}",
                f"--split={fold}",
                f"--model={folder}/model.keras",
                "--keep_probabilities",
                f"--output={file}",
            )
            asked = (f"{folder}/model.json", places.mark(HALVES))
            steps.append(Step(f"predict_{fold}", "predict", words, file, asked))
        words = ("--predictions", *files)
        if confusion:
            folder = f"--output={Path(places.confusion).parent}"
            own_words = (*words, "--soft", folder)
            result = places.confusion
            steps.append(
                Step("confusion", "confusion", own_words, result, tuple(files))
            )
        if difficulty:
            folder = f"--output={Path(places.difficulty).parent}"
            own_words = (*words, folder)
            result = places.difficulty
            steps.append(
                Step("difficulty", "difficulty", own_words, result, tuple(files))
            )
        return steps

    def list_recipe(self, recipe: Recipe, training: Training) -> list[Step]:
        """Build a recipe's subset, and train all models on it."""
        built = self._build(recipe.name, recipe.words, recipe.files)
        return [built, *self._train(recipe.name, training)]

    def list_evaluation(self, recipe: Recipe, training: Training, seed: int) -> Step:
        """Judge a recipe's subset by the full set."""
        report = self._places.report(recipe.name)
        full, subset = (
            self._places.curves(name, training) for name in (FULL, recipe.name)
        )
        # Predictions beside the curves decide pairs, so that they count as well.
        files = [
            f"{Path(path).parent}/{name}"
            for path in (*full, *subset)
            for name in ("curves.csv", "predictions.parquet")
        ]
        words = (
            "--full",
            *full,
            "--subset",
            *subset,
            f"--output={Path(report).parent}",
            f"--seed={seed}",
        )
        name = f"evaluate_{recipe.name}"
        return Step(name, "evaluate", words, report, tuple(files))

    def _build(
        self, name: str, words: Sequence[str], files: tuple[str, ...] = ()
    ) -> Step:
        own = (
            f"--input={self._index}",
            f"--output={self._places.datasets}",
            f"--name={name}",
            "--formats=tfrecord",
            "--resume",  # where a run was stopped
            *words,
        )
        result = self._places.mark(name)
        return Step(f"build_{name}", "build", own, result, (self._index, *files))

    def _train(
        self, name: str, training: Training, *, dataset: str | None = None
    ) -> list[Step]:
        """Train all models, a step a seed."""
        output = self._places.models(name)
        return [
            Step(
                f"train_{name}_seed{seed}",
                "train",
                (
                    f"--dataset={self._places.dataset(dataset or name)}",
                    f"--models={','.join(training.models)}",
                    f"--epochs={training.epochs}",
                    f"--seed={seed}",
                    f"--output={output}",
                    *training.words,
                ),
                f"{output}/{training.models[-1]}/seed{seed}/model.json",
                (self._places.mark(dataset or name),),
            )
            for seed in training.seeds
        ]
