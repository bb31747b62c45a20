"""Compute confusion matrices and the most confused pairs of classes."""

import dataclasses
import functools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines import light_imports
from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import figures, storage
from transforms.confusion import counts as confusion_counts
from transforms.confusion import figure as confusion_figure
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.counts import (
    ConfusionCounts,
    CountPlan,
    PredictionPart,
    PredictionSurvey,
    read_counts,
)
from transforms.confusion.matrix import Confusion
from transforms.options import flag
from transforms.predictions.chance import describe_chance, is_at_chance
from transforms.records import UsageError
from transforms.reports.page import Chart

if TYPE_CHECKING:
    import apache_beam as beam

_PROG = "python -m pipelines.confusion"
_NAMES = ("confusion", "confusion_a", "confusion_b")
_MAX_UNDECIDED_SHARE = 0.02  # above it, top-5 classes are insufficient


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfusionOptions(StoreFlags):
    """Compute confusion matrices from predictions, for --grouping=confusion.

    confusion.npz counts all images; confusion_a.npz and confusion_b.npz count half of
    them each. Groups computed from confusion_a.npz can be evaluated on confusion_b.npz.
    """

    predictions: tuple[str, ...] = flag(
        "predictions written by pipelines.predict (.parquet), or top-5 classes of the "
        "official validation images (.npz); repeatable, with counts summed",
        metavar="FILE",
    )
    output: str = flag("folder of the matrices and the figure", metavar="DIR")
    soft: bool = flag(
        "count every likely class, weighted by its probability (if stored by predict "
        "--keep_probabilities) or by its rank (1, ½, ¼, ⅛, 1/16), instead of only the "
        "top-1 class; less noisy with few images",
        default=False,
    )
    seed: int = flag("seed of the two halves, as in build --folds=2", default=0)

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        yield from find_folder_problems(self.output)


def define_pipeline(
    root: "beam.Pipeline",
    pieces: Sequence[PredictionPart],
    *,
    plan: CountPlan,
    output: str,
) -> None:
    """Count the predictions of all parts and write the counts to one file.

    Args:
      root: the Beam pipeline.
      pieces: parts of the prediction files.
      plan: classes and options of the count.
      output: path of the .npz file of counts.
    """
    import apache_beam as beam  # noqa: PLC0415  # slow import, not needed for --help

    from transforms.confusion.steps import CountPredictions, WriteCounts  # noqa: PLC0415

    _ = (
        root
        | "ListPieces" >> beam.Create(list(pieces))
        | CountPredictions(plan)
        | WriteCounts(output)
    )


def count_predictions(
    pieces: Sequence[PredictionPart],
    plan: CountPlan,
    *,
    output: str,
    beam_flags: Sequence[str],
) -> ConfusionCounts:
    """Run the counting pipeline and return the counts from its scratch file.

    Args:
      pieces: parts of the prediction files.
      plan: classes and options of the count.
      output: folder of the job's output; the scratch folder is created beside it.
      beam_flags: flags of the Beam runner.

    Raises:
      UsageError: invalid predictions or Beam flags.
      JobError: the runner failed.
    """
    light_imports.import_beam(beam_flags)
    from pipelines import engine  # noqa: PLC0415  # slow import

    options = engine.make_beam_options(beam_flags)
    if problems := list(engine.find_own_folder_problems(options, _PROG)):
        raise UsageError("\n".join(problems))
    place = storage.absolute(output)
    with storage.scratch_folder(place, f".{place.rpartition('/')[2]}.") as folder:
        file = f"{folder}/counts.npz"
        define = functools.partial(
            define_pipeline, pieces=pieces, plan=plan, output=file
        )
        engine.run(define, options)
        return read_counts(storage.read(file), len(plan.wnids))


def write_matrices(folder: str, matrices: Sequence[Confusion]) -> None:
    """Write the matrices, the most confused pairs and the figure.

    Args:
      folder: output folder.
      matrices: matrices of all images, of half a and of half b.
    """
    for name, confusion in zip(_NAMES, matrices, strict=True):
        data = confusion_matrix.to_npz(confusion)
        storage.write(folder, f"{name}.npz", data)
    whole = matrices[0]
    pairs = confusion_figure.find_pairs(whole)
    storage.write(folder, "confusion.csv", confusion_figure.to_csv(pairs))
    figure = confusion_figure.draw(whole, pairs)
    png = figures.to_png(figure, dpi=confusion_figure.DPI)
    storage.write(folder, "confusion.png", png)
    Chart(name="confusion", title="", figure=figure).write(folder)


def _describe(
    surveyed: PredictionSurvey,
    counts: ConfusionCounts,
    whole: Confusion,
    *,
    is_soft: bool,
) -> Iterator[str]:
    """Yield the notes and warnings about the counted predictions."""
    if is_soft and surveyed.by_probabilities:
        yield f"counted by probabilities: {', '.join(surveyed.by_probabilities)}"
        if surveyed.by_rank:
            without = ", ".join(surveyed.by_rank)
            yield f"counted by rank, without probabilities: {without}"
    chance = 1 / len(surveyed.wnids)
    guessing = [
        f"warning: {model} {describe_chance(num_correct, num_images, chance)}"
        for model, (num_images, num_correct) in zip(
            surveyed.models, counts.accuracy.tolist(), strict=True
        )
        if is_at_chance(num_correct, num_images, chance)
    ]
    yield from guessing or confusion_matrix.find_order_problem(whole)
    if surveyed.num_seen:
        yield (
            f"warning: models were trained on {_share(surveyed.num_seen, surveyed)}: "
            "confusion on training images is too low; use validation images, or "
            "predict each of two folds with the model trained on the other"
        )
    if counts.num_undecided:
        is_much = counts.num_undecided > _MAX_UNDECIDED_SHARE * surveyed.num_images
        yield (
            f"{'warning: ' if is_much else ''}no prediction is usable for "
            f"{_share(counts.num_undecided, surveyed)}: none of the top-5 classes "
            "is a class of the images"
            + (
                "; keep all probabilities (--keep_probabilities of predict)"
                if is_much
                else ""
            )
        )


def _count_errors(whole: Confusion, *, is_soft: bool) -> str:
    total, models = int(whole.num_images.sum()), ", ".join(whole.models)
    if is_soft:
        share = whole.num_errors / max(total, 1)
        return f"{share:.1%} of the predicted probability is on wrong classes: {models}"
    what = "images are" if len(whole.models) == 1 else "predictions are"
    return f"{whole.num_errors:.0f} of {total} {what} misclassified by {models}"


def _share(count: int, surveyed: PredictionSurvey) -> str:
    share = count / surveyed.num_images
    return f"{count} of {surveyed.num_images} images ({share:.2%})"


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, beam_flags = parse(ConfusionOptions, argv, prog=_PROG)
        beam_flags = settle(options, beam_flags)
        check_output(options.output)
        surveyed = confusion_counts.survey(options.predictions, seed=options.seed)
        plan = CountPlan(
            surveyed.wnids,
            surveyed.cutoffs,
            options.seed,
            is_soft=options.soft,
            models=surveyed.models,
        )
        counts = count_predictions(
            surveyed.pieces, plan, output=options.output, beam_flags=beam_flags
        )
        matrices = counts.to_confusions(plan, surveyed.models)
        write_matrices(options.output, matrices)
        whole = matrices[0]
        for line in _describe(surveyed, counts, whole, is_soft=options.soft):
            sys.stderr.write(f"{line}\n")
        sys.stderr.write(f"{_count_errors(whole, is_soft=options.soft)}\n")
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
