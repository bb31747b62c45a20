"""Compute confusion matrices and the most confused pairs of classes."""

import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import light_imports
from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.confusion import counts as confusion_counts
from transforms.confusion.counts import CountPlan, PredictionPart
from transforms.confusion.results import MatrixSettings
from transforms.options import flag

if TYPE_CHECKING:
    import apache_beam as beam

_PROG = "python -m pipelines.confusion"


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
    root: "beam.Pipeline", pieces: Sequence[PredictionPart], settings: MatrixSettings
) -> None:
    """Count the predictions of all parts and write the matrices.

    Args:
      root: the Beam pipeline.
      pieces: parts of the prediction files.
      settings: the output, and the classes and options of the count.
    """
    import apache_beam as beam

    from transforms.confusion.steps import CountPredictions, WriteMatrices

    _ = (
        root
        | "ListPieces" >> beam.Create(confusion_counts.divide(pieces))
        | CountPredictions(settings.plan)
        | WriteMatrices(settings)
    )


def count_predictions(
    options: ConfusionOptions, beam_flags: Sequence[str]
) -> list[str]:
    """Count the predictions, write the matrices and return the lines of the summary.

    There are none if the job is only submitted.

    Raises:
      UsageError: invalid predictions or Beam flags.
      JobError: the runner failed.
    """
    light_imports.import_beam(beam_flags)
    from pipelines import engine

    beam_options = engine.make_beam_options(beam_flags)
    places = [(f"--predictions {path}", path) for path in options.predictions]
    places.append((f"--output {options.output}", options.output))
    engine.check_reach(beam_options, places)
    surveyed = confusion_counts.survey(options.predictions, seed=options.seed)
    plan = CountPlan(
        surveyed.wnids,
        surveyed.cutoffs,
        options.seed,
        is_soft=options.soft,
        models=surveyed.models,
    )
    output = storage.absolute(options.output)
    name = output.rpartition("/")[2]
    with storage.scratch_folder(output, f".{name}.") as scratch:
        summary = f"{scratch}/summary.json"
        if storage.is_remote(output):  # reachable for remote workers
            summary = f"{output}/.{Path(scratch).name}.json"
        if not engine.waits_for_end(beam_options):
            summary = ""
        settings = MatrixSettings(
            output=output, survey=surveyed, plan=plan, summary=summary
        )
        define = functools.partial(
            define_pipeline, pieces=surveyed.pieces, settings=settings
        )
        try:
            is_done = engine.run(
                define, beam_options, is_complete=lambda: storage.is_file(summary)
            )
            return json.loads(storage.read(summary)) if is_done else []
        finally:
            if summary:
                with suppress(OSError):  # the first error counts
                    storage.remove_file(summary)


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, beam_flags = parse(ConfusionOptions, argv, prog=_PROG)
        settle(options)
        check_output(options.output)
        for line in count_predictions(options, beam_flags):
            sys.stderr.write(f"{line}\n")
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
