"""Curves, predictions or accuracies of models → how good a subset of ImageNet is."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.options import exit_codes, flag, parse
from pipelines.outputs import check_bucket, find_folder_problems
from pipelines.storing import StoreFlags, settle

if TYPE_CHECKING:
    from transforms.scoring.report import Evaluation

_PROG = "python -m pipelines.evaluate"
_KINDS = ("full", "predictions", "accuracies")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(StoreFlags):
    """Tell how well a subset ranks models as the full set does.

    By curves of models trained on both (--full, --subset), by predictions of models
    that are trained already (--predictions, --groups), or by any two columns of scores
    (--accuracies).
    """

    full: tuple[str, ...] = flag(
        "curves on the full set: files, or folders above curves.csv such as the "
        "--output of python -m pipelines.train",
        default=(),
        metavar="CURVES",
    )
    subset: tuple[str, ...] = flag(
        "curves on one or more subsets, told apart by their subset ids",
        default=(),
        metavar="CURVES",
    )
    predictions: tuple[str, ...] = flag(
        "predictions of trained models for the validation images, .parquet or .npz",
        default=(),
        metavar="FILE",
    )
    groups: tuple[str, ...] = flag(
        "tables of groups to score, as --grouping=manual reads them",
        default=(),
        metavar="FILE",
    )
    accuracies: tuple[str, ...] = flag(
        "two CSV files of models and scores that are better when higher, or one with "
        "two columns of them",
        default=(),
        metavar="FILE",
    )
    key_columns: tuple[str, ...] = flag(
        "the columns that together tell rows of --accuracies apart (of model, img_size "
        "and crop_pct, those that all files have)",
        default=(),
        metavar="NAME,NAME",
    )
    columns: tuple[str, ...] = flag(
        "the column of scores, or one of each file (top1, accuracy, or the only one)",
        default=(),
        metavar="NAME,NAME",
    )
    output: str = flag("folder of report.json and report.html", metavar="DIR")
    seed: int = flag("decides what intervals are drawn from", default=0)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        given = [name for name in _KINDS if getattr(self, name)]
        if not given and not self.subset and not self.groups:
            yield (
                "--full: is required, with --subset; or --predictions with --groups; "
                "or --accuracies"
            )
        if len(given) > 1:
            flags = ", ".join(f"--{name}" for name in given)
            yield f"--{given[1]}: one question at a time; give one of {flags}"
        for one, other, what in (
            ("full", "subset", "curves on a subset"),
            ("subset", "full", "curves on the full set"),
            ("predictions", "groups", "tables of groups"),
            ("groups", "predictions", "predictions of trained models"),
        ):
            if getattr(self, one) and not getattr(self, other):
                yield f"--{other}: is required with --{one} ({what})"
        yield from self._find_table_problems()
        yield from self.find_store_problems()
        yield from find_folder_problems(self.output)

    def _find_table_problems(self) -> Iterator[str]:
        for name in ("key_columns", "columns"):
            if getattr(self, name) and not self.accuracies:
                yield f"--{name}: goes with --accuracies only"
        if len(self.accuracies) > 2:
            yield (
                f"--accuracies {' '.join(self.accuracies)}: are {len(self.accuracies)} "
                "files; give two, or one with two columns"
            )
        if len(split(self.columns)) > 2:
            yield f"--columns {','.join(self.columns)}: give one or two"
        for name in ("key_columns", "columns"):
            words = split(getattr(self, name))
            if name == "key_columns" and len(set(words)) < len(words):
                yield f"--{name} {','.join(words)}: one is given twice"


def split(words: Sequence[str]) -> list[str]:
    """Split words at commas."""
    return [part for word in words for part in word.split(",") if part]


def evaluate(options: EvaluateOptions) -> str:
    """Evaluate, and write the report and its page.

    Returns: The folder.
    Raises: UsageError: what is wrong with the tables.
    """
    # SciPy and pyarrow take a second that --help has not.
    from transforms import storage  # noqa: PLC0415
    from transforms.pages.evaluation import make_page  # noqa: PLC0415
    from transforms.scoring.report import make_report  # noqa: PLC0415
    from transforms.scoring.summary import summarize  # noqa: PLC0415

    found = _evaluate(options)
    for warning in found.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for line in summarize(found):
        sys.stderr.write(f"{line}\n")
    root = storage.absolute(options.output)
    storage.write(root, "report.json", make_report(found, seed=options.seed))
    storage.write(root, "report.html", make_page(found))
    return root


def _evaluate(options: EvaluateOptions) -> "Evaluation":
    """Evaluate what is given."""
    if options.full:
        from transforms.scoring import curve_scoring  # noqa: PLC0415  # as above

        return curve_scoring.evaluate_curves(
            options.full, options.subset, seed=options.seed
        )
    if options.accuracies:
        from transforms.scoring import accuracies  # noqa: PLC0415  # as above

        return accuracies.evaluate_accuracies(
            options.accuracies,
            key_columns=split(options.key_columns),
            columns=split(options.columns),
            seed=options.seed,
        )
    from pipelines.evaluating.group_tables import read_group_tables  # noqa: PLC0415
    from transforms.scoring import predictions, training_free  # noqa: PLC0415

    return training_free.evaluate_predictions(
        predictions.read_predictions(options.predictions),
        read_group_tables(options.groups),
        seed=options.seed,
    )


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(EvaluateOptions, argv, prog=_PROG, takes_beam_flags=False)
        settle(options)
        check_bucket(options.output)
        root = evaluate(options)
    sys.stdout.write(f"{root}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
