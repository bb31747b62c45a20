"""Predictions of cross-fitted models, or scores of others → how hard each image is."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from pipelines.cli import check_bucket, exit_codes, find_folder_problems, flag, parse
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.difficulty import sources as difficulty_sources
from transforms.difficulty import table as difficulty_table
from transforms.reports import difficulty as difficulty_page
from transforms.reports.page import write as write_page

_PROG = "python -m pipelines.difficulty"
TABLE = "difficulty.parquet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifficultyOptions(StoreFlags):
    """Give every image a difficulty, as --sampling=difficulty needs it."""

    predictions: tuple[str, ...] = flag(
        "what python -m pipelines.predict wrote; each half of the images scored by the "
        "model of the other half (build --folds 2); repeatable",
        default=(),
        metavar="FILE",
    )
    scores: str | None = flag(
        "instead: scores from elsewhere, .csv or .parquet, a row an image",
        default=None,
        metavar="FILE",
    )
    score_kind: str = flag(
        "what --scores holds: the probability of the right answer; or any numbers that "
        "are larger for easier, or for harder images (EL2N, forgetting counts)",
        default="probability",
        choices=difficulty_sources.SCORE_KINDS,
    )
    key_column: str = flag("the images' names, or paths, in --scores", default="key")
    score_column: str = flag("the numbers in --scores", default="score")
    output: str = flag("where the table and its page are written", metavar="DIR")

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from self.find_store_problems()
        if bool(self.predictions) == bool(self.scores):
            yield "--predictions: give either these, or --scores"
        yield from find_folder_problems(self.output)


def measure(options: DifficultyOptions) -> None:
    """Write the table, its page and its histogram.

    Raises: UsageError: what the user must mend.
    """
    notes: tuple[str, ...] = ()
    if options.scores:
        table = difficulty_sources.read_scores(
            options.scores,
            kind=options.score_kind,
            key_column=options.key_column,
            score_column=options.score_column,
        )
        source = f"Scores of another program, read as {options.score_kind}."
    else:
        joined = difficulty_sources.join(options.predictions)
        table, notes = joined.table, joined.notes
        source = f"Probability that a model gives to an image's own {joined.correct}."
    table = table.sort_by("key")
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
        check_bucket(options.output)
        measure(options)
    sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
