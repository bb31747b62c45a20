"""Define the steps of a study."""

from collections.abc import Sequence
from pathlib import Path

from pipelines import commands
from pipelines.commands import FOLDS, Places, Step, Training
from pipelines.step_runner import has_run
from pipelines.studying.recipes import FULL, HALVES, Recipe
from transforms import storage
from transforms.evaluation import report as evaluation_report
from transforms.training import data as training_data


def list_index_step(
    places: Places, inputs: Sequence[str], **tables: str | None
) -> Step:
    """Return the step that indexes the input; `tables` maps flags to paths or None."""
    step = commands.index(
        places,
        [_absolute(path) for path in inputs],
        **{name: _absolute(path) for name, path in tables.items() if path},
    )
    # Each value is a separate word, so that the marks of existing studies still match.
    flags = {n: v if isinstance(v, list) else [v] for n, v in step.flags.items()}
    return step._replace(flags=flags)


class Steps:
    """Create the steps that come after indexing.

    Args:
      places: paths of the study.
      index: path of the index.
      fingerprint: fingerprint of its images.
      common: flags of all datasets that the study builds.
    """

    def __init__(
        self, places: Places, index: str, fingerprint: str, common: Sequence[str]
    ) -> None:
        self._places = places
        self._index = _absolute(index)
        self._fingerprint = fingerprint
        self._common = tuple(common)

    def list_full(self, training: Training) -> list[Step]:
        """List the steps that build the full set and train all models on it."""
        words = (*self._common, "--grouping=all_classes")
        return [self._build(FULL, words), *self._train(FULL, training)]

    def list_references(
        self, model: str, training: Training, *, confusion: bool, difficulty: bool
    ) -> list[Step]:
        """List the steps that measure confusion and difficulty by cross-fitting.

        A model is trained on each half of the images and predicts the other half.

        Args:
          model: name of the reference model.
          training: training settings; only the first seed is used.
          confusion: whether to compute the confusion matrix.
          difficulty: whether to compute the difficulty table.
        """
        words = (*self._common, "--grouping=all_classes", "--folds=2")
        reference = training._replace(models=(model,))
        steps = [
            self._build(HALVES, words),
            *commands.cross_fit(self._places, HALVES, reference),
        ]
        if confusion:
            steps.append(commands.confusion(self._places, FOLDS, {"soft": True}))
        if difficulty:
            steps.append(commands.difficulty(self._places))
        return steps

    def list_recipe(self, recipe: Recipe, training: Training) -> list[Step]:
        """List the steps that build a recipe's subset and train all models on it."""
        build = self._build(recipe.name, recipe.words, recipe.files)
        return [build, *self._train(recipe.name, training)]

    def curves_of(self, name: str, seed: int) -> str:
        """Return the path of the curves of all models trained on a set with a seed."""
        return f"{self._places.root}/curves/{name}_seed{seed}.csv"

    def _train(self, name: str, training: Training) -> list[Step]:
        """List the steps that train on a set; their results are the joined curves."""
        steps = commands.train(self._places, name, training)
        return [
            step._replace(result=self.curves_of(name, seed))
            for step, seed in zip(steps, training.seeds, strict=True)
        ]

    def list_joined(self, name: str, training: Training) -> list[str]:
        """List the curves of all models on a set, one file per seed."""
        return [self.curves_of(name, seed) for seed in training.seeds]

    def list_evaluation(
        self, recipe: Recipe, full_training: Training, training: Training, *, seed: int
    ) -> Step:
        """Return the step that evaluates a recipe's subset against the full set.

        Args:
          recipe: the recipe.
          full_training: training settings for the full set.
          training: training settings for the subset.
          seed: seed of the evaluation.
        """
        sets = ((FULL, full_training), (recipe.name, training))
        single, joined = (
            self._make_evaluation(recipe, [list_files(*one) for one in sets], seed)
            for list_files in (self._places.curves, self.list_joined)
        )
        exist = (
            all(Path(path).exists() for one in sets for path in list_files(*one))
            for list_files in (self._places.curves, self.list_joined)
        )
        has_single, has_joined = exist
        if has_single or not has_joined:
            return single
        # `has_run` reads all curves and predictions, so it is asked last.
        is_finished = Path(single.result).exists() and has_run(
            self._places.root, single
        )
        return single if is_finished else joined

    def _make_evaluation(
        self, recipe: Recipe, curves: Sequence[list[str]], seed: int
    ) -> Step:
        full, subset = curves
        report = self._places.report(recipe.name)
        # Predictions beside the curves affect the evaluation, so they are hashed too.
        files = [
            f"{Path(path).parent}/{name}"
            for path in (*full, *subset)
            for name in (Path(path).name, "predictions.parquet")
        ]
        folder = str(Path(report).parent)
        flags = {"full": full, "subset": subset, "output": folder, "seed": seed}
        name = f"evaluate_{recipe.name}"
        version = f"version {evaluation_report.VERSION}"
        return Step(name, "evaluate", flags, report, tuple(files), identity=version)

    def _build(
        self, name: str, words: Sequence[str], files: Sequence[str] = ()
    ) -> Step:
        return commands.build(
            self._places,
            name,
            {"formats": training_data.FORMAT},
            source=self._index,
            files=files,
            more_words=words,
            fingerprint=self._fingerprint,
        )


def join_curves(step: Step) -> None:
    """Join the curves of all models of a training step into its result.

    These small files let another machine continue a study without the models.
    """
    models = Path(step.flags["output"])
    files = [
        models / model / f"seed{step.flags['seed']}" / "curves.csv"
        for model in step.flags["models"].split(",")
    ]
    header, *rows = [line for f in files for line in f.read_bytes().splitlines()]
    lines = [header, *(row for row in rows if row != header), b""]
    result = Path(step.result)
    storage.write(str(result.parent), result.name, b"\n".join(lines))


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())
