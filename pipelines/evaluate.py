"""Compare the ranking of models on a subset with that on the full set."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines import grouping_flags
from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.store_flags import StoreFlags, settle
from pipelines.streams import print_warnings
from transforms.arrays import IntegerArray
from transforms.dataset import paths
from transforms.evaluation.by_predictions import make_group_of
from transforms.grouping import groups_file
from transforms.grouping.table import LEFT_OUT, make_table
from transforms.options import flag
from transforms.predictions.reading import NUM_CLASSES
from transforms.records import UsageError, list_names

if TYPE_CHECKING:
    from transforms.evaluation.report import Evaluation

_PROG = "python -m pipelines.evaluate"
_KINDS = ("full", "predictions", "accuracies")
_LOG_FLAGS = (
    "train_images", "validation_images", "accuracy_column", "epoch_column",
    "model_names",
)  # fmt: skip
_GROUP_COUNTS = (10, 20, 100, 200)
_NUM_DRAWS = 20
_USUAL = "groups"  # default file name, which does not identify a table


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(StoreFlags):
    """Compare the ranking of models on a subset with that on the full set.

    There are three kinds of input: curves of models trained on both sets (--full,
    --subset), predictions of models that are already trained (--predictions, with
    --groups or --training_free), or two columns of accuracies (--accuracies).
    """

    full: tuple[str, ...] = flag(
        "curves of models trained on the full set: curves.csv files, logs of other "
        "trainers (timm, Lightning, Keras, Hugging Face, or any CSV table), one model "
        "per file, or folders that contain them; repeatable",
        default=(),
        metavar="CURVES",
    )
    subset: tuple[str, ...] = flag(
        "curves of models trained on one or more subsets, which are distinguished by "
        "their subset ids, and logs by their folder; repeatable",
        default=(),
        metavar="CURVES",
    )
    train_images: tuple[int, ...] = flag(
        "number of training images of the logs: one for all sets, or one for --full "
        "and each folder of --subset, separated by commas",
        default=(),
        minimum=1,
        metavar="N,N",
        split=",",
        allow_repeats=True,
    )
    validation_images: tuple[int, ...] = flag(
        "number of validation images of logs that do not state it, given as in "
        "--train_images",
        default=(),
        minimum=1,
        metavar="N,N",
        split=",",
        allow_repeats=True,
    )
    accuracy_column: str = flag(
        "column or metric of validation accuracy in logs (default: the only one, such "
        "as val_accuracy)",
        default="",
        metavar="NAME",
    )
    epoch_column: str = flag(
        "column of the epochs, from 0 or 1, if logs are plain CSV tables; needs "
        "--accuracy_column",
        default="",
        metavar="NAME",
    )
    model_names: tuple[str, ...] = flag(
        "names of models by the folder or file of their log, separated by commas "
        "(default: the folder's name)",
        default=(),
        metavar="FOLDER=NAME",
        split=",",
    )
    predictions: tuple[str, ...] = flag(
        "predictions of trained models for the validation images, .parquet or .npz; "
        "repeatable",
        default=(),
        metavar="FILE",
    )
    groups: tuple[str, ...] = flag(
        "tables of groups to evaluate with --predictions, CSV or YAML; repeatable",
        default=(),
        metavar="FILE",
    )
    training_free: bool = flag(
        "compare all grouping methods and all published class lists by --predictions; "
        "writes training_free.csv, .json and .html",
        default=False,
    )
    num_groups: tuple[int, ...] = flag(
        "numbers of groups to compare with --training_free, separated by commas "
        "(default: 10,20,100,200)",
        default=(),
        minimum=2,
        metavar="N,N",
        split=",",
    )
    draws: int | None = flag(
        "number of seeds of random groupings with --training_free (default: 20)",
        default=None,
        minimum=1,
        maximum=1000,
    )
    donors: tuple[str, ...] = flag(
        "models of --predictions whose confusion determines groups with "
        "--training_free; they are not ranked (default: the model of median accuracy)",
        default=(),
        metavar="NAME,NAME",
        split=",",
    )
    accuracies: tuple[str, ...] = flag(
        "two CSV files of models and scores (higher is better), or one file with two "
        "columns of scores",
        default=(),
        metavar="FILE",
    )
    key_columns: tuple[str, ...] = flag(
        "columns that identify a row of --accuracies, separated by commas (default: "
        "whichever of model, img_size and crop_pct all files contain)",
        default=(),
        metavar="NAME,NAME",
        split=",",
    )
    columns: tuple[str, ...] = flag(
        "column of scores in --accuracies, or two, one per file or set, separated by "
        "a comma (default: top1, accuracy, or the only column)",
        default=(),
        metavar="NAME,NAME",
        split=",",
        allow_repeats=True,
    )
    output: str = flag("folder of the report and its page", metavar="DIR")
    seed: int = flag(
        "seed of the bootstrap, of random groups and of the selection of images",
        default=0,
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        given = [name for name in _KINDS if getattr(self, name)]
        if not given and not self.subset and not self.groups and not self.training_free:
            yield (
                "--full: is required, with --subset; or --predictions with --groups "
                "or --training_free; or --accuracies"
            )
        if len(given) > 1:
            flags = ", ".join(f"--{name}" for name in given)
            yield f"--{given[1]}: only one kind of input at a time; give one of {flags}"
        for flag_name, other, what in (
            ("full", "subset", "curves on a subset"),
            ("subset", "full", "curves on the full set"),
            ("predictions", "groups", "tables of groups"),
            ("groups", "predictions", "predictions of trained models"),
        ):
            if other == "groups" and self.training_free:
                continue
            if getattr(self, flag_name) and not getattr(self, other):
                yield f"--{other}: is required with --{flag_name} ({what})"
        yield from self._find_log_problems()
        yield from self._find_training_free_problems()
        yield from self._find_table_problems()
        yield from self.find_store_problems()
        yield from find_folder_problems(self.output)

    def _find_log_problems(self) -> Iterator[str]:
        for name in _LOG_FLAGS:
            if getattr(self, name) and not (self.full or self.subset):
                yield f"--{name}: applies only with --full and --subset"
        if self.epoch_column and not self.accuracy_column:
            yield "--accuracy_column: is required with --epoch_column"
        for pair in self.model_names:
            folder, _, name = pair.rpartition("=")
            if not (folder and name):
                yield f"--model_names {pair}: is not FOLDER=NAME, e.g. run1=resnet50"
        folders = [pair.rpartition("=")[0] for pair in self.model_names]
        for folder in {folder for folder in folders if folders.count(folder) > 1}:
            yield f"--model_names {folder}: is given two names; give one"

    def _find_training_free_problems(self) -> Iterator[str]:
        if not self.training_free:
            for name in ("num_groups", "draws", "donors"):
                if getattr(self, name):
                    yield f"--{name}: applies only with --training_free"
            return
        if not self.predictions:
            yield "--predictions: is required with --training_free"
        for name in ("groups", "full", "accuracies"):
            if getattr(self, name):
                yield f"--{name}: cannot be combined with --training_free; omit one"
        if any(number > NUM_CLASSES for number in self.num_groups):
            yield (
                f"--num_groups {max(self.num_groups)}: there are only {NUM_CLASSES} "
                "classes; reduce it"
            )

    def _find_table_problems(self) -> Iterator[str]:
        for name in ("key_columns", "columns"):
            if getattr(self, name) and not self.accuracies:
                yield f"--{name}: applies only with --accuracies"
        if len(self.accuracies) > 2:
            yield (
                f"--accuracies {' '.join(self.accuracies)}: {len(self.accuracies)} "
                "files are given; give two, or one with two columns"
            )
        if len(self.columns) > 2:
            yield f"--columns {','.join(self.columns)}: give one or two"


def evaluate(options: EvaluateOptions) -> str:
    """Run the evaluation that the options select, and write its report and page.

    Returns:
      The output folder.

    Raises:
      UsageError: the input files are invalid.
    """
    # SciPy and pyarrow import slowly and are not needed for --help.
    from transforms import storage
    from transforms.evaluation.report import make_report, summarise
    from transforms.reports import page
    from transforms.reports.evaluation import make_page

    if options.training_free:
        return _compare_recipes(options)
    evaluation = _evaluate(options)
    print_warnings(evaluation.warnings)
    for line in summarise(evaluation):
        sys.stderr.write(f"{line}\n")
    root = storage.absolute(options.output)
    storage.write(root, "report.json", make_report(evaluation, seed=options.seed))
    page.write(root, "report.html", make_page(evaluation))
    return root


def _check_files(options: EvaluateOptions) -> None:
    """Check that the job replaces no files but those of its earlier runs.

    Raises:
      UsageError: the output folder has other files of the same names.
    """
    from transforms import storage

    names = ["report.json", "report.html"]
    if options.training_free:
        names = [f"training_free.{suffix}" for suffix in ("json", "csv", "html")]
    names = [name for name in names if storage.is_file(f"{options.output}/{name}")]
    # The JSON file is written first.
    if names and not _is_report(storage.read(f"{options.output}/{names[0]}")):
        raise UsageError(
            f"--output {options.output}: contains {list_names(names)} not written by "
            "this job; name another folder, or remove them"
        )


def _is_report(data: bytes) -> bool:
    """Return whether a file is a report of this job, of any version."""
    try:
        report = json.loads(data)
    except ValueError:
        return False
    return isinstance(report, dict) and {"version", "seed", "warnings"} <= set(report)


def _compare_recipes(options: EvaluateOptions) -> str:
    """Compare all recipes without training, write the files; return their folder."""
    from pipelines.training_free import compare_recipes
    from transforms import storage
    from transforms.evaluation import training_free
    from transforms.reports import page
    from transforms.reports.training_free import make_page

    table = compare_recipes(
        options.predictions,
        group_counts=sorted(options.num_groups) or _GROUP_COUNTS,
        num_draws=options.draws or _NUM_DRAWS,
        donors=options.donors,
        seed=options.seed,
    )
    print_warnings(table.warnings)
    for line in training_free.summarise(table):
        sys.stderr.write(f"{line}\n")
    root = storage.absolute(options.output)
    report = training_free.to_report(table, seed=options.seed)
    storage.write(root, "training_free.json", report)
    storage.write(root, "training_free.csv", training_free.to_csv(table))
    page.write(root, "training_free.html", make_page(table))
    return root


def _evaluate(options: EvaluateOptions) -> "Evaluation":
    """Run the evaluation for the kind of input that was given."""
    if options.full:
        from transforms.evaluation import by_curves
        from transforms.evaluation.log_sets import LogSettings
        from transforms.evaluation.training_logs import LogColumns

        logs = LogSettings(
            columns=LogColumns(options.epoch_column, options.accuracy_column),
            model_names=dict(pair.rpartition("=")[::2] for pair in options.model_names),
            train_images=options.train_images,
            validation_images=options.validation_images,
        )
        return by_curves.evaluate_curves(
            options.full, options.subset, logs=logs, seed=options.seed
        )
    if options.accuracies:
        from transforms.evaluation import by_accuracies

        return by_accuracies.evaluate_accuracies(
            options.accuracies,
            key_columns=options.key_columns,
            columns=options.columns,
        )
    from transforms.evaluation import by_predictions
    from transforms.predictions import reading as prediction_files

    tables, confusion_models = read_group_tables(options.groups)
    return by_predictions.evaluate_predictions(
        prediction_files.read_predictions(options.predictions),
        tables,
        confusion_models=confusion_models,
        seed=options.seed,
    )


class GroupTables(NamedTuple):
    """Tables of groups, by name.

    Attributes:
      groups: group label of each official class, shape (1000,); −1 if excluded.
      confusion_models: models whose confusion determined the groups; only for
        tables that record it.
    """

    groups: dict[str, IntegerArray]
    confusion_models: dict[str, tuple[str, ...]]


def read_group_tables(files: Sequence[str]) -> GroupTables:
    """Read tables of groups; classes that a table does not list are excluded.

    Raises:
      UsageError: lists the problems of every table, or names a repeated file.
    """
    official = grouping_flags.list_official_classes()
    tables = GroupTables({}, {})
    problems: list[str] = []
    for path, name in zip(files, name_tables(files), strict=True):
        try:
            result = groups_file.read_groups(path, official)
        except UsageError as error:
            problems.append(str(error))
            continue
        for note in result.notes:
            sys.stderr.write(f"{name}: {note}\n")
        table = make_table(official, result.assignment, result.names)
        group_of = make_group_of(table.label_of)
        tables.groups[name] = np.where(group_of < 0, LEFT_OUT, group_of)
        if (models := groups_file.find_confusion_models(path)) is not None:
            tables.confusion_models[name] = models
    if problems:
        raise UsageError("\n".join(problems))
    return tables


def name_tables(files: Sequence[str]) -> list[str]:
    """Return a distinct name for each table, from its file, dataset or folder.

    Raises:
      UsageError: a file is given twice.
    """
    absolute = [Path(path).absolute() for path in files]
    if twice := [str(path) for path, count in Counter(absolute).items() if count > 1]:
        raise UsageError(f"--groups {twice[0]}: is given twice; give it once")
    names = [_name_table(path) for path in absolute]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in absolute]
    return names


def _name_table(path: Path) -> str:
    if path.stem != _USUAL:
        return path.stem
    if path.match(paths.GROUPS):  # a dataset's: …/small/1.0.0/__meta__/groups.csv
        return "/".join(path.parts[1:][-4:-2])
    return path.parent.name


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(EvaluateOptions, argv, prog=_PROG, takes_beam_flags=False)
        settle(options)
        check_output(options.output)
        _check_files(options)
        root = evaluate(options)
        sys.stdout.write(f"{root}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
