"""A step → the process of another job, run once; what is finished is passed over."""

import codecs
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess  # nosec B404  # of jobs of ours, without a shell
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from pipelines.cli import cannot_write
from pipelines.difficulty import TABLE
from pipelines.studying.recipes import FULL, HALVES, Recipe
from transforms import progress, storage
from transforms.dataset import paths
from transforms.records import JSON, JobError, UsageError, to_json
from transforms.training import data as training_data

_MARKS = ".steps"
_ERROR = "error: "
_MAX_ERRORS = 1000  # lines of a job that are kept
_USERS_FAULT, _STOPPED = 2, 130


class Step(NamedTuple):
    """One process.

    Attributes:
      name: that no other step has.
      job: of pipelines/.
      words: its command line.
      result: a file or folder that is there when it is finished.
      files: tables that decide the result; another content makes it another step.
    """

    name: str
    job: str
    words: tuple[str, ...]
    result: str
    files: tuple[str, ...] = ()


class RefusedError(Exception):
    """A job found something that the user must mend, before it began."""


class Runner:
    """Runs steps one after the other, below one folder.

    Args:
      root: the study's folder.
      lock: a descriptor that the processes keep open, so that no other study begins
        while one of them outlives this one.
    """

    def __init__(self, root: str, lock: int) -> None:
        self._root = root
        self._lock = lock

    def is_finished(self, step: Step) -> bool:
        """Tell whether exactly this step has been run."""
        mark = Path(self._root, _MARKS, f"{step.name}.json")
        try:
            found = json.loads(mark.read_bytes())
        except (OSError, ValueError):
            return False
        return Path(step.result).exists() and found == self._describe(step)

    def is_another(self, step: Step) -> bool:
        """Tell whether a step of this name has been run with other words or tables."""
        mark = Path(self._root, _MARKS, f"{step.name}.json")
        return mark.exists() and not self.is_finished(step)

    def run(self, step: Step) -> None:
        """Run a step, unless it is finished.

        Raises:
          RefusedError: the job found something to mend.
          JobError: it failed.
        """
        if self.is_finished(step):
            return
        described = self._describe(step)
        code, errors = self._run(step)
        if code == _USERS_FAULT:
            raise RefusedError("\n".join(errors) or f"{step.name} was refused")
        if code in {_STOPPED, -signal.SIGINT, -signal.SIGTERM}:
            raise KeyboardInterrupt
        if code:
            told = "\n".join(errors) or f"its process ended with {code}"
            raise JobError(f"{step.name}: {told}\nthe same command goes on from there")
        storage.write(f"{self._root}/{_MARKS}", f"{step.name}.json", to_json(described))

    def _describe(self, step: Step) -> dict[str, JSON]:
        """Return what decides a step, wherever the study's folder lies."""
        return {
            "job": step.job,
            "words": [word.replace(self._root, ".") for word in step.words],
            "files": [_hash(path) for path in step.files],
        }

    def _run(self, step: Step) -> tuple[int, list[str]]:
        """Run a process and show what it says; returns its code, and its errors."""
        command = [sys.executable, "-m", f"pipelines.{step.job}", *step.words]
        shown = {}
        if sys.stderr.isatty():  # the step cannot tell: it writes to this process
            shown["TQDM_MININTERVAL"] = str(progress.INTERVAL_S)
        process = subprocess.Popen(  # noqa: S603  # nosec B603  # our own jobs
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**shown, **os.environ},
            pass_fds=[self._lock],
        )
        try:
            errors = _show(process)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return code, errors


def _show(process: "subprocess.Popen[bytes]") -> list[str]:
    """Pass on what a process says, as it says it; returns its errors instead."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    errors: list[str] = []
    held, is_begun = "", False  # a line's beginning; whether it has been passed on
    if process.stderr is None:
        return errors
    with process.stderr as stream:
        while data := os.read(stream.fileno(), 1 << 16):
            *lines, held = (held + decoder.decode(data)).split("\n")
            for line in lines:
                if line.startswith(_ERROR) and not is_begun:
                    errors = [*errors, line.removeprefix(_ERROR)][-_MAX_ERRORS:]
                else:
                    sys.stderr.write(f"{line}\n")
                is_begun = False
            if held and (is_begun or not _may_be_error(held)):
                sys.stderr.write(held)
                held, is_begun = "", True
            sys.stderr.flush()
    sys.stderr.write(held)
    return errors


def _may_be_error(text: str) -> bool:
    """Tell whether a line that begins so may be an error, as far as it is known."""
    return text.startswith(_ERROR) or _ERROR.startswith(text)


def _hash(path: str) -> str:
    """Hash a table; "" when it is not there, which the job will say."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextlib.contextmanager
def acquire_folder(root: str) -> Iterator[int]:
    """Make the study's folder and hold it; yields the descriptor that does so.

    SIGTERM ends a study as Ctrl-C does, so that its step ends with it.

    Raises: UsageError: nothing can be written there, or another study is at work.
    """
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(root, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"--output {root}: another study is at work there, or the last step of "
            "one; wait for it, or name another place"
        ) from None
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield descriptor
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(descriptor)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


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
            f"--formats={training_data.FORMAT}",
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
