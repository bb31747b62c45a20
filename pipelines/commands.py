"""Define the jobs from raw images to a subset: their flags, inputs and results.

The chain, the study and the Airflow DAGs share these definitions. This file imports
only the standard library, because Airflow's environment lacks the program's
dependencies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

FOLDS = ("fold_a", "fold_b")
COMPLETE = "__meta__/complete.json"  # commit mark of a dataset
# Other files of a dataset, such as its card, may change with the program's version.
_MANIFEST = "__meta__/manifest.parquet"
Flags = Mapping[str, Any]
_NONE: Flags = MappingProxyType({})


class Step(NamedTuple):
    """A job to run as a process.

    Attributes:
      name: unique name.
      job: name of a module of pipelines/.
      flags: flag values by name; list items become separate arguments.
      result: path of a file or folder that exists after the step.
      files: paths of input files; if their contents change, the step runs again.
      more_words: further command-line arguments.
      identity: identifies inputs whose files differ between machines, or the format of
        the result; if it changes, the step runs again.
    """

    name: str
    job: str
    flags: Flags
    result: str
    files: tuple[str, ...] = ()
    more_words: tuple[str, ...] = ()
    identity: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command-line arguments of the job."""
        return (*to_words(self.flags), *self.more_words)


def to_words(flags: Flags) -> list[str]:
    """Convert flags to command-line arguments."""
    words = []
    for name, value in flags.items():
        if isinstance(value, list):
            words += [f"--{name}", *value]
        else:
            words.append(f"--{name}" if value is True else f"--{name}={value}")
    return words


class Training(NamedTuple):
    """Settings of training jobs.

    Attributes:
      models: names of the models.
      seeds: random seeds; every model is trained once per seed.
      epochs: number of epochs.
      words: further command-line arguments.
    """

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    words: tuple[str, ...]


class Places:
    """Paths of all results of a chain or study, below one folder.

    Args:
      root: the folder.
      datasets: folder of the datasets; by default `root`/datasets.
      version: version of the datasets, x.y.z.
    """

    def __init__(
        self, root: str, *, datasets: str | None = None, version: str = "1.0.0"
    ) -> None:
        self.root = root
        self.index = f"{root}/index.parquet"
        self.datasets = datasets or f"{root}/datasets"
        self.confusion = f"{root}/confusion/confusion.npz"
        self.difficulty = f"{root}/difficulty/difficulty.parquet"
        self._version = version

    def dataset(self, name: str) -> str:
        """Return the folder of a dataset."""
        return f"{self.datasets}/{name}/{self._version}"

    def mark(self, name: str) -> str:
        """Return the path of a dataset's commit mark."""
        return f"{self.dataset(name)}/{COMPLETE}"

    def models(self, name: str) -> str:
        """Return the folder of the models trained on a dataset or fold."""
        return f"{self.root}/models/{name}"

    def predictions(self, split: str) -> str:
        """Return the path of the predictions for a split."""
        return f"{self.root}/predictions/{split}.parquet"

    def half_confusion(self, half: str) -> str:
        """Return the path of the confusion matrix of half "a" or "b" of the images."""
        return self.confusion.replace(".npz", f"_{half}.npz")

    def report(self, name: str) -> str:
        """Return the path of the report on the evaluation of a recipe."""
        return f"{self.root}/evaluations/{name}/report.json"

    def curves(self, name: str, training: Training) -> list[str]:
        """Return the paths of the curves of all models trained on a dataset or fold."""
        return [
            f"{self.models(name)}/{model}/seed{seed}/curves.csv"
            for model in training.models
            for seed in training.seeds
        ]


def index(places: Places, inputs: Sequence[str], **tables: str) -> Step:
    """Return the step that indexes raw images; `tables` maps flags to paths."""
    flags: dict[str, Any] = {"input": [*inputs], "output": places.index, **tables}
    return Step("index", "index", flags, places.index, tuple(tables.values()))


def build(
    places: Places,
    name: str,
    flags: Flags,
    *,
    source: str | None = None,
    files: Sequence[str] = (),
    more_words: Sequence[str] = (),
    fingerprint: str = "",
) -> Step:
    """Return the step that builds a dataset, or continues an interrupted build.

    Args:
      places: paths of all results.
      name: name of the dataset.
      flags: flags of the build job.
      source: path of the index; by default that of the index step.
      files: paths of the tables that the flags name.
      more_words: further command-line arguments.
      fingerprint: fingerprint of the index, which holds paths of its machine; by
        default, the file is compared.
    """
    source = source or places.index
    return Step(
        f"build_{name}",
        "build",
        {
            "input": source,
            "output": places.datasets,
            "name": name,
            **flags,
            "resume": True,
        },
        places.mark(name),
        tuple(files) if fingerprint else (source, *files),
        tuple(more_words),
        fingerprint,
    )


def train(
    places: Places, name: str, training: Training, *, dataset: str | None = None
) -> list[Step]:
    """List the steps that train all models, one per seed.

    Args:
      places: paths of all results.
      name: name of the dataset or fold, used for the folder of the models.
      training: training settings.
      dataset: name of the dataset to train on; by default `name`.
    """
    dataset, output = dataset or name, places.models(name)
    return [
        Step(
            f"train_{name}_seed{seed}",
            "train",
            {
                "dataset": places.dataset(dataset),
                "models": ",".join(training.models),
                "epochs": training.epochs,
                "seed": seed,
                "output": output,
            },
            f"{output}/{training.models[-1]}/seed{seed}/model.json",
            (f"{places.dataset(dataset)}/{_MANIFEST}",),
            training.words,
        )
        for seed in training.seeds
    ]


def cross_fit(places: Places, dataset: str, training: Training) -> list[Step]:
    """List the steps that train a model on each half and predict the other half.

    Args:
      places: paths of all results.
      dataset: name of a dataset with two folds.
      training: training settings; only the first model and seed are used.
    """
    training = training._replace(models=training.models[:1], seeds=training.seeds[:1])
    steps, models = [], []
    for fold in FOLDS:
        words = (f"--train_split={fold}", *training.words)
        steps += train(places, fold, training._replace(words=words), dataset=dataset)
        models.append(str(Path(steps[-1].result).with_name("model.keras")))
    halves = places.dataset(dataset)
    return [
        *steps,
        *predict_halves(places, halves, models, {"keep_probabilities": True}),
    ]


def predict_halves(
    places: Places, halves: str, models: Sequence[str], flags: Flags = _NONE
) -> list[Step]:
    """List the steps that predict each half with the model trained on the other.

    Args:
      places: paths of all results.
      halves: folder of a dataset with two folds.
      models: paths of the models trained on fold_a and on fold_b.
      flags: further flags of the predict job.
    """
    return [
        predict(
            places,
            fold,
            {"input": halves, "model": model, **flags},
            (str(Path(model).with_name("model.json")), f"{halves}/{_MANIFEST}"),
        )
        for fold, model in zip(FOLDS, reversed(models), strict=True)
    ]


def predict(
    places: Places, split: str, flags: Flags, files: Sequence[str] = ()
) -> Step:
    """Return the step that predicts a split.

    Args:
      places: paths of all results.
      split: name of the split.
      flags: flags of the predict job, with "input".
      files: paths of input files; if their contents change, the step runs again.
    """
    output = places.predictions(split)
    return Step(
        f"predict_{split}",
        "predict",
        {"input": flags["input"], "split": split, **flags, "output": output},
        output,
        tuple(files),
    )


def confusion(places: Places, splits: Sequence[str], flags: Flags = _NONE) -> Step:
    """Return the step that computes confusion matrices from predictions."""
    return _measure(places, "confusion", splits, places.confusion, flags)


def difficulty(places: Places, flags: Flags = _NONE) -> Step:
    """Return the step that computes the difficulty of the images of both halves."""
    return _measure(places, "difficulty", FOLDS, places.difficulty, flags)


def _measure(
    places: Places, job: str, splits: Sequence[str], result: str, flags: Flags = _NONE
) -> Step:
    files = [places.predictions(split) for split in splits]
    folder = result.rpartition("/")[0]
    all_flags = {"predictions": files, **flags, "output": folder}
    return Step(job, job, all_flags, result, tuple(files))
