"""Predict every image of a split with trained models and write one table."""

import dataclasses
import functools
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines import inputs, light_imports
from pipelines.cli import check_output, exit_codes, find_file_problems, parse
from pipelines.input_flags import InputFlags
from pipelines.predicting import checks
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.grouping.table import GroupTable
from transforms.models import results
from transforms.models.image_source import ImageSource
from transforms.models.inference import InferenceSettings
from transforms.models.results import TableSettings
from transforms.models.spec import ModelSpec
from transforms.options import flag
from transforms.predictions import table as predictions_table
from transforms.processes import num_cores
from transforms.records import UsageError

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.ml.inference.base import ModelHandler
    from apache_beam.options.pipeline_options import PipelineOptions

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
    output: str = flag(
        "table to write, ending in .parquet; an interrupted run of the same settings "
        "is continued",
        metavar="FILE",
    )
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
    share_models: bool | None = flag(
        "load the models in one process per machine, which runs inference for all of "
        "its worker processes, as GPUs need",
        default=None,
        default_note="true if --resource_hints or --dataflow_service_options request "
        "an accelerator",
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
        yield from find_file_problems(self.output, ".parquet")


def define_pipeline(
    root: "beam.Pipeline", handler: "ModelHandler", settings: TableSettings
) -> None:
    """Predict chunks of images, and merge the predictions into one table.

    Args:
      root: the Beam pipeline.
      handler: loads the models and runs inference.
      settings: the chunks, the work folder and the table.
    """
    import apache_beam as beam

    from transforms.models.steps import PredictImages, WriteTable

    _ = (
        root
        # Not reshuffled here: PredictImages distributes the chunks.
        | "ListChunks" >> beam.Create(settings.chunks, reshuffle=False)
        | PredictImages(handler, settings.work)
        | WriteTable(settings)
    )


def predict(options: PredictOptions, beam_flags: Sequence[str]) -> list[str]:
    """Predict the images, write the table and return summary lines of every model.

    If the job is only submitted, the only line says when the table is complete.

    Raises:
      UsageError: lists all configuration errors, before any image is read.
      JobError: inference failed, too many images cannot be read, or the engine lost
        images.
    """
    light_imports.import_beam(beam_flags)
    models, list_images = _check(options, beam_flags)
    check_output(options.output)
    output = storage.absolute(options.output)
    with storage.scratch_folder(output, f".{output.rpartition('/')[2]}.") as scratch:
        source = checks.choose_images(list_images(scratch), models)
        return _run_inference(
            options, models, source, beam_flags=beam_flags, ticks=f"{scratch}/ticks"
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
    problems: list[str] = []
    with _collect(problems):
        inputs.check_reach(
            options.input,
            options,
            [
                *((f"--model {path}", path) for path in options.model),
                (f"--output {options.output}", options.output),
            ],
            beam_flags=beam_flags,
        )
    if not problems:  # it reads the store, which must be reachable
        with _collect(problems):
            storage.check_replaceable(
                options.output, predictions_table.METADATA_KEY, "a file of predictions"
            )
    table: GroupTable | None = None
    with _collect(problems):
        list_images = checks.prepare_source(
            options.input,
            options,
            split=options.split,
            beam_flags=beam_flags,
        )
    with _collect(problems):
        table = checks.read_groups(options.groups) if options.groups else None
    with _collect(problems):
        models = checks.describe_models(options.model, options.model_card, table)
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
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
    ticks: str,
) -> list[str]:
    """Run the pipeline with a progress bar and return the lines of its summary."""
    from pipelines import engine
    from pipelines.predicting import work as work_folders
    from transforms import progress
    from transforms.models import steps

    beam_options = engine.make_beam_options(beam_flags)
    models = tuple(  # workers may run in another folder
        dataclasses.replace(spec, path=storage.absolute(spec.path)) for spec in models
    )
    settings = InferenceSettings(
        models=models,
        roots=source.roots,
        versions=source.versions,
        batch_size=options.batch_size,
        num_threads=options.threads,
        keep_probabilities=options.keep_probabilities,
        # Remote workers cannot write to a file of this machine.
        ticks=ticks if engine.is_embedded(beam_options) else None,
    )
    listed, chunks = checks.make_list(source, models, options.batch_size)
    output = storage.absolute(options.output)
    run = work_folders.Run(
        output=output,
        run_id=work_folders.find_run_id(settings, options.split),
        chunks=chunks,
    )
    table = TableSettings(
        work=run.work,
        output=output,
        models=models,
        num_images=Counter(source.table["wnid"].to_pylist()),
        chunks=chunks,
        max_failure_fraction=options.max_failure_fraction,
        # Several launchers may write the same table in a bucket.
        summary=f"{uuid.uuid4().hex}.json"
        if engine.waits_for_end(beam_options)
        else "",
    )
    define = functools.partial(
        define_pipeline,
        handler=steps.ScoreImages(
            settings, run.work, shares_models=shares_models(options, beam_options)
        ),
        settings=table,
    )
    with work_folders.acquire(run, listed) as num_left:
        with progress.show(
            settings.ticks, total=num_left, what="predicting", unit="image"
        ):
            is_done = engine.run(
                define,
                beam_options,
                is_complete=lambda: results.read_summary(table) is not None,
            )
        if not is_done:
            return [f"the table is complete when {run.work} no longer exists"]
        summary = results.read_summary(table) or []
        storage.remove_folder(run.work)
        return summary


def shares_models(options: PredictOptions, beam_options: "PipelineOptions") -> bool:
    """Return whether one process of each machine loads the models."""
    from pipelines import engine

    if options.share_models is None:
        return engine.requests_accelerator(beam_options)
    return options.share_models


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    stopped = "stopped; the same command continues after the finished chunks, if any"
    with exit_codes(when_stopped=stopped):
        options, _, beam_flags = parse(PredictOptions, argv, prog=_PROG)
        settle(options)
        summary = predict(options, beam_flags)
    for line in summary:
        sys.stderr.write(f"{line}\n")
    sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
