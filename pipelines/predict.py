"""Predict every image of a split with trained models and write one table."""

import dataclasses
import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli import check_output, exit_codes, parse
from pipelines.input_flags import InputFlags
from pipelines.predicting import checks, results
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.grouping.table import GroupTable
from transforms.models.image_list import ImageSource
from transforms.models.inference import InferenceSettings, ModelSpec
from transforms.options import flag
from transforms.processes import num_cores
from transforms.records import UsageError, check_all_arrived

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.ml.inference.base import ModelHandler

    from transforms.models.steps import ScoredPart

_PROG = "python -m pipelines.predict"
_SPLITS = ("train", "validation", "fold_a", "fold_b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictOptions(InputFlags, StoreFlags):
    """Run trained models on every image of a split, and write their predictions."""

    input: tuple[str, ...] = flag(
        "raw ImageNet (archives or folders; repeatable), an index, or the "
        "folder of a finished subset",
        default=(),
        metavar="PATH",
    )
    split: str = flag(
        "split to predict; folds exist in subsets built with --folds=2", choices=_SPLITS
    )
    model: tuple[str, ...] = flag(
        "model: .keras, .onnx or the folder of a SavedModel, with its card beside "
        "it (NAME.json or model.json); repeatable",
        metavar="PATH",
    )
    model_card: str | None = flag(
        "card for models without a card beside them", default=None, metavar="FILE"
    )
    groups: str | None = flag(
        "table of groups; a prediction is correct if its group is correct (default: "
        "if its class is correct)",
        default=None,
        metavar="FILE",
    )
    output: str = flag("table to write, ending in .parquet", metavar="FILE")
    keep_probabilities: bool = flag(
        "also write the probabilities of all classes, 2 kB per image for 1000 classes",
        default=False,
    )
    batch_size: int = flag(
        "images per inference batch", default=64, minimum=1, maximum=4096
    )
    threads: int = flag(
        "threads that decode images and run inference",
        default=num_cores(),
        default_note="one per core; 1 with --runner=DaskRunner",
        dask_default=1,  # Dask runs as many tasks at once as a worker has threads
        minimum=1,
        maximum=1024,
    )
    max_failure_fraction: float = flag(
        "share of the images that may be unreadable",
        default=0.0,
        minimum=0,
        maximum=1,
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        yield from self.find_input_problems(self.input)
        if not (self.input or self.train_input or self.validation_input):
            yield "--input: is required"
        if self.output and not self.output.endswith(".parquet"):
            yield f"--output {self.output}: must end in .parquet"
        if self.output and Path(self.output).is_dir():
            yield f"--output {self.output}: is a folder; name a file"


def define_pipeline(
    root: "beam.Pipeline",
    handler: "ModelHandler",
    *,
    num_chunks: int,
    image_list: str,
    parts_folder: str,
    gathered: str,
) -> None:
    """Predict chunks of images and write one table part per chunk and model.

    Args:
      root: the Beam pipeline.
      handler: loads the models and runs inference.
      num_chunks: number of chunks in the image list.
      image_list: path of the Parquet list of images.
      parts_folder: folder for the parts of the table.
      gathered: path of the JSON file that lists the parts.
    """
    import apache_beam as beam  # noqa: PLC0415  # slow import, not needed for --help

    from transforms.models.steps import Chunk, PredictImages  # noqa: PLC0415

    chunks = [Chunk(number, image_list) for number in range(num_chunks)]
    _ = (
        root
        | "ListChunks" >> beam.Create(chunks)
        | PredictImages(handler, parts_folder=parts_folder, gathered=gathered)
    )


def predict(options: PredictOptions, beam_flags: Sequence[str]) -> list[str]:
    """Predict the images, write the table and return summary lines of every model.

    Raises:
      UsageError: lists all configuration errors, before any image is read.
      JobError: inference failed, too many images cannot be read, or the engine lost
        images.
    """
    models, list_images = _check(options, beam_flags)
    check_output(options.output)
    output = storage.absolute(options.output)
    with storage.scratch_folder(output, f".{output.rpartition('/')[2]}.") as scratch:
        source = checks.choose_images(list_images(scratch), models)
        parts = _run_inference(
            options, models, source, beam_flags=beam_flags, scratch=scratch
        )
        return results.write_predictions(
            parts,
            models,
            output,
            wnids=source.table["wnid"],
            max_failure_fraction=options.max_failure_fraction,
        )


def _check(
    options: PredictOptions, beam_flags: Sequence[str]
) -> tuple[list[ModelSpec], checks.ListImages]:
    """Check inputs, groups and models, and test every model on grey images.

    Returns:
      The models, and a function that lists the images.

    Raises:
      UsageError: lists the problems of inputs, groups and models.
    """
    from pipelines import engine  # noqa: PLC0415  # slow import

    problems = list(
        engine.find_own_folder_problems(engine.make_beam_options(beam_flags), _PROG)
    )
    table: GroupTable | None = None
    with _collect(problems):
        list_images = checks.prepare_source(
            options.input,
            options.validation_labels,
            options.inputs_of_splits,
            options.class_list,
            split=options.split,
            beam_flags=beam_flags,
        )
    with _collect(problems):
        table = checks.read_groups(options.groups) if options.groups else None
    with _collect(problems):
        models = checks.describe_models(options.model, options.model_card, table)
    if problems:
        raise UsageError("\n".join(problems))
    checks.check_models(models, options.batch_size)
    return models, list_images


@contextmanager
def _collect(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        problems.append(str(error))


def _run_inference(
    options: PredictOptions,
    models: Sequence[ModelSpec],
    source: ImageSource,
    *,
    beam_flags: Sequence[str],
    scratch: str,
) -> "list[ScoredPart]":
    """Run the pipeline with a progress bar and return the parts that it wrote."""
    from pipelines import engine  # noqa: PLC0415  # slow import
    from transforms import progress  # noqa: PLC0415
    from transforms.models import steps  # noqa: PLC0415

    ticks, gathered = f"{scratch}/ticks", f"{scratch}/gathered.json"
    listed = f"{scratch}/images.parquet"
    num_chunks = checks.write_list(source, models, listed, options.batch_size)
    settings = InferenceSettings(
        models=tuple(models),
        roots=source.roots,
        versions=source.versions,
        batch_size=options.batch_size,
        num_threads=options.threads,
        keep_probabilities=options.keep_probabilities,
        ticks=ticks,
    )
    define = functools.partial(
        define_pipeline,
        handler=steps.ScoreImages(settings),
        num_chunks=num_chunks,
        image_list=listed,
        parts_folder=scratch,
        gathered=gathered,
    )
    total = len(source.table)
    with progress.show(ticks, total=total, what="predicting", unit="image"):
        engine.run(define, engine.make_beam_options(beam_flags))
    parts = steps.read_scored_parts(gathered) if storage.exists(gathered) else []
    check_all_arrived(
        (part.number for part in parts),
        range(num_chunks),
        what="chunks of images",
        remedy=results.REMEDY,
    )
    return parts


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, beam_flags = parse(PredictOptions, argv, prog=_PROG)
        settle(options)
        summary = predict(options, beam_flags)
    for line in summary:
        sys.stderr.write(f"{line}\n")
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
