"""Compute the difficulty of every image from predictions or external scores."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.difficulty import sources as difficulty_sources
from transforms.difficulty import table as difficulty_table
from transforms.options import flag
from transforms.reports import difficulty as difficulty_page
from transforms.reports.page import write as write_page

_PROG = "python -m pipelines.difficulty"
TABLE = "difficulty.parquet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifficultyOptions(StoreFlags):
    """Compute the difficulty of every image, for --sampling=difficulty."""

    predictions: tuple[str, ...] = flag(
        "predictions written by pipelines.predict, each half of the images scored by "
        "the model trained on the other half (build --folds=2); repeatable",
        default=(),
        metavar="FILE",
    )
    scores: str | None = flag(
        "scores from another program, .csv or .parquet, one row per image; instead of "
        "--predictions",
        default=None,
        metavar="FILE",
    )
    score_kind: str = flag(
        "meaning of the scores: probability: of the correct class; easiness: larger is "
        "easier; hardness: larger is harder (EL2N, forgetting counts)",
        default="probability",
        choices=difficulty_sources.SCORE_KINDS,
    )
    key_column: str = flag(
        "column of --scores with the names or paths of the images", default="key"
    )
    score_column: str = flag("column of --scores with the values", default="score")
    output: str = flag("folder of the table and its page", metavar="DIR")

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        if bool(self.predictions) == bool(self.scores):
            yield "--predictions: give either --predictions or --scores"
        yield from find_folder_problems(self.output)


def measure(options: DifficultyOptions) -> None:
    """Write the difficulty table, its page and its histogram.

    Raises:
      UsageError: the predictions or scores are invalid.
    """
    notes: tuple[str, ...] = ()
    if options.scores:
        table = difficulty_sources.read_scores(
            options.scores,
            kind=options.score_kind,
            key_column=options.key_column,
            score_column=options.score_column,
        )
        source = f"External scores, read as {options.score_kind}."
    else:
        joined = difficulty_sources.join_predictions(options.predictions)
        table, notes = joined.table, joined.notes
        source = f"Predicted probability of an image's correct {joined.correct}."
    table = table.sort_by("key")
    notes += tuple(difficulty_table.find_concentration(table["p_correct"].to_numpy()))
    for line in (*notes, source):
        sys.stderr.write(f"{line}\n")
    page = difficulty_page.make_page(table, source=source, notes=notes)
    write_page(options.output, "difficulty.html", page)
    storage.write(options.output, "difficulty.svg", page.charts[0].svg.encode())
    difficulty_table.write_table(table, f"{options.output}/{TABLE}")
    mean = table["p_correct"].to_numpy().mean()
    sys.stderr.write(f"{len(table)} images, mean p_correct {mean:.4f}\n")


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(
            DifficultyOptions, argv, prog=_PROG, takes_beam_flags=False
        )
        settle(options)
        check_output(options.output)
        measure(options)
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
