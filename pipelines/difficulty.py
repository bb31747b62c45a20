"""Compute the difficulty of every image from predictions or external scores."""

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cli import check_output, exit_codes, find_folder_problems, parse
from pipelines.input_flags import InputFlags
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.difficulty import sources as difficulty_sources
from transforms.difficulty import table as difficulty_table
from transforms.images.process import process
from transforms.images.read import read_image_bytes
from transforms.images.settings import ImageSettings
from transforms.index import table as index_table
from transforms.options import flag
from transforms.records import DataError, ImageRef
from transforms.reports import difficulty as difficulty_page
from transforms.reports.page import write as write_page

_PROG = "python -m pipelines.difficulty"
TABLE = "difficulty.parquet"
_THUMBNAIL = ImageSettings(image_size=128, resize_mode="center_crop", jpeg_quality=80)
_NUM_READERS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifficultyOptions(InputFlags, StoreFlags):
    """Compute the difficulty of every image, for --sampling=difficulty.

    With --input, the page shows the hardest, the easiest and other images.
    """

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
    input: tuple[str, ...] = flag(
        "images to show on the page: raw ImageNet (archives or folders; repeatable), "
        "an index, or the folder of a finished subset",
        default=(),
        metavar="PATH",
    )
    output: str = flag("folder of the table and its page", metavar="DIR")

    @property
    def has_images(self) -> bool:
        """Whether an input with the images is given."""
        return bool(self.input or self.train_input or self.validation_input)

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        yield from self.find_input_problems(self.input)
        for name in ("validation_labels", "class_list"):
            if getattr(self, name) and not self.has_images:
                yield f"--{name}: applies only with --input"
        if bool(self.predictions) == bool(self.scores):
            yield "--predictions: give either --predictions or --scores"
        yield from find_folder_problems(self.output)


def measure(options: DifficultyOptions) -> None:
    """Write the difficulty table, its page and its histogram.

    Raises:
      UsageError: the predictions, the scores or the input are invalid.
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
    thumbnails = None
    if options.has_images:
        shown = difficulty_page.choose_images(table)
        keys = [image["key"] for strip in shown for image in strip.images]
        thumbnails = read_thumbnails(options, keys)
        if num_missing := len(set(keys) - thumbnails.keys()):
            note = (
                f"warning: {num_missing} of {len(keys)} images to show are not in "
                "--input or cannot be read"
            )
            notes += (note,)
            sys.stderr.write(f"{note}\n")
    page = difficulty_page.make_page(
        table, source=source, notes=notes, thumbnails=thumbnails
    )
    write_page(options.output, "difficulty.html", page)
    storage.write(options.output, "difficulty.svg", page.charts[0].svg.encode())
    difficulty_table.write_table(table, f"{options.output}/{TABLE}")
    mean = table["p_correct"].to_numpy().mean()
    sys.stderr.write(f"{len(table)} images, mean p_correct {mean:.4f}\n")


def read_thumbnails(
    options: DifficultyOptions, keys: Sequence[str]
) -> dict[str, bytes]:
    """Read some images of the input and shrink them to small squares.

    Returns:
      JPEG files by key, without images that are missing or cannot be read.

    Raises:
      UsageError: the input is invalid.
      JobError: the input could not be indexed.
    """
    # These import slowly, and other runs do not need them.
    from pipelines.predicting.checks import prepare_source

    list_images = prepare_source(
        options.input,
        options,
        split=None,
        beam_flags=(),
    )
    with tempfile.TemporaryDirectory() as scratch:
        source = list_images(scratch)
    is_wanted = pc.is_in(source.table["key"], value_set=pa.array(keys, pa.string()))
    refs = index_table.to_refs(source.table.filter(is_wanted))

    def read(ref: ImageRef) -> bytes | None:
        root = source.roots[ref.input]
        version = source.versions.get(f"{root}/{ref.uri}", "")
        try:
            return process(read_image_bytes(root, ref, version), _THUMBNAIL).jpeg
        except (DataError, OSError):
            return None

    with ThreadPoolExecutor(_NUM_READERS) as pool:
        jpegs = zip(refs, pool.map(read, refs), strict=True)
        return {ref.key: jpeg for ref, jpeg in jpegs if jpeg is not None}


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
