"""Index raw ImageNet: write one row per image with the location of its bytes."""

import dataclasses
import functools
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pipelines import inputs, light_imports
from pipelines.cli import check_output, exit_codes, find_file_problems, parse
from pipelines.input_flags import NO_PATH, InputFlags
from pipelines.inputs import RecognisedInputs
from pipelines.log_flags import LogFlags
from pipelines.store_flags import StoreFlags, settle
from pipelines.streams import print_warnings
from transforms import layouts, progress, storage
from transforms.index import parts
from transforms.index import table as index_table
from transforms.index.inventory import Inventory, check_index, read_inventory
from transforms.layouts import InputPart
from transforms.options import flag
from transforms.processes import num_cores
from transforms.progress import phase
from transforms.records import UsageError

_MEAN_IMAGE_BYTES = 110_000  # of ImageNet
_MANY_REQUESTS = 1000

if TYPE_CHECKING:
    import apache_beam as beam


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexOptions(InputFlags, StoreFlags, LogFlags):
    """List every image of ImageNet and the location of its bytes in a Parquet file."""

    input: tuple[str, ...] = flag(
        "raw ImageNet: an archive, a folder, a gs:// or s3:// prefix, or a dataset "
        "hf://datasets/OWNER/NAME[@REVISION]; repeatable",
        default=(),
        metavar="PATH",
        absent=NO_PATH,
    )
    output: str = flag("index to write, ending in .parquet", metavar="FILE")
    require_complete: bool = flag(
        "reject an input that is not the complete ImageNet (1,281,167 training images, "
        "50 validation images per class)",
        default=False,
    )
    inspect: bool = flag(
        "read every image once and record its format, size, checksum and damage",
        default=False,
    )
    threads: int = flag(
        "images inspected, or local archives and folders listed, in parallel",
        default=num_cores(),
        default_note="one per core; 1 with --runner=DaskRunner",
        dask_default=1,  # Dask runs as many tasks at once as a worker has threads
        minimum=1,
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        yield from self.find_input_problems(self.input)
        if not (self.input or self.train_input or self.validation_input):
            yield "--input: is required"
        yield from find_file_problems(self.output, index_table.SUFFIX)


def define_pipeline(
    root: "beam.Pipeline",
    recognised: RecognisedInputs,
    *,
    output: str,
    parts_folder: str,
    check: Callable[[str], object] | None = None,
    num_inspect_threads: int = 0,
    ticks: str | None = None,
    may_start_processes: bool = False,
) -> None:
    """Find the images of all input parts, label them and write the index.

    Args:
      root: the Beam pipeline.
      recognised: the parts of the inputs.
      output: path of the index.
      parts_folder: folder for the parts of the index, readable by all workers.
      check: reads the new index before it replaces an earlier one.
      num_inspect_threads: threads that inspect images; 0 skips the inspection.
      ticks: file that progress is appended to; None shows no progress.
      may_start_processes: whether the inspection may start processes.
    """
    import apache_beam as beam

    from transforms.index.steps import FindImages, LabelImages, WriteIndex

    _ = (
        root
        | "ListPieces" >> beam.Create(list(enumerate(recognised.parts)))
        | FindImages(None if num_inspect_threads else ticks)
        | LabelImages()
        | WriteIndex(
            output=output,
            parts_folder=parts_folder,
            pieces=recognised.parts,
            warnings=recognised.warnings,
            check=check,
            num_inspect_threads=num_inspect_threads,
            ticks=ticks if num_inspect_threads else None,
            has_processes=may_start_processes,
        )
    )


def write_index(
    recognised: RecognisedInputs,
    *,
    output: str,
    check: Callable[[str], object] | None = None,
    num_inspect_threads: int = 0,
    num_processes: int = num_cores(),
    beam_flags: Sequence[str],
) -> bool:
    """Find and label all images, inspect them if requested, and write the index.

    Without Beam flags and inspection, local inputs are indexed without Beam.

    Args:
      recognised: the parts of the inputs.
      output: path of the index.
      check: reads the new index before it replaces an earlier one.
      num_inspect_threads: threads that inspect images; 0 skips the inspection.
      num_processes: processes that list local inputs.
      beam_flags: flags of the Beam runner.

    Returns:
      Whether the job has finished; False if it was only submitted.

    Raises:
      UsageError: an archive, label or image name is invalid, or `check` failed.
      JobError: the runner failed.
    """
    if cost := describe_cost(recognised.parts):
        sys.stderr.write(f"{cost}\n")
    place = storage.absolute(output)
    beside, _, name = place.rpartition("/")
    storage.clear_temporary(place)
    is_local = not any(storage.is_remote(part.root) for part in recognised.parts)
    if is_local and not beam_flags and not num_inspect_threads:
        with storage.scratch_folder(place, f".{name}.") as folder:
            ticks: str | None = f"{folder}/ticks"
            with progress.show(ticks, total=None, what="finding", unit="image"):
                parts.write_index(
                    recognised.parts,
                    place,
                    recognised.warnings,
                    check=check,
                    num_processes=num_processes,
                    ticks=ticks,
                )
        return True
    light_imports.import_beam(beam_flags)
    from pipelines import engine

    options = engine.make_beam_options(beam_flags)
    is_embedded = engine.is_embedded(options)
    with storage.scratch_folder(place, f".{name}.") as folder:
        parts_folder = f"{folder}/parts"
        if not is_embedded:  # workers may be elsewhere, and outlive this process
            parts_folder = f"{beside}/.{name}.{uuid.uuid4().hex}.partial"
        ticks = f"{folder}/ticks" if is_embedded else None
        define = functools.partial(
            define_pipeline,
            recognised=recognised,
            output=place,
            parts_folder=parts_folder,
            check=check,
            num_inspect_threads=num_inspect_threads,
            ticks=ticks,
            may_start_processes=engine.has_one_process(options),
        )
        what = "inspecting" if num_inspect_threads else "finding"
        # The last step removes the folder.
        unmerged = f"{parts_folder}/unmerged"
        storage.write(parts_folder, "unmerged", b"")
        try:
            with progress.show(ticks, total=None, what=what, unit="image"):
                return engine.run(
                    define,
                    options,
                    is_complete=lambda: not storage.is_file(unmerged),
                )
        except BaseException:  # Ctrl-C too
            with suppress(OSError):  # the first error counts
                storage.remove_folder(parts_folder)
            raise


def describe_cost(pieces: Sequence[InputPart]) -> str:
    """Describe how many requests it takes to list archives in buckets; "" if few."""
    paths = {
        piece.path
        for piece in pieces
        if storage.is_remote(piece.path)
        and getattr(layouts.load(piece.layout), "READS_HEADERS", False)
    }
    folders = {path.rpartition("/")[0] for path in paths}
    num_bytes = sum(
        entry.num_bytes
        for folder in folders
        for entry in storage.list_folder(folder)
        if f"{folder}/{entry.name}" in paths
    )
    num_requests = num_bytes // _MEAN_IMAGE_BYTES
    if num_requests < _MANY_REQUESTS:
        return ""
    return (
        f"listing {num_bytes / 1e9:.1f} GB of archives in a bucket takes about "
        f"{num_requests:,} requests, one per image; an index (python -m "
        "pipelines.index) does this once for all jobs"
    )


def index_images(
    recognised: RecognisedInputs,
    *,
    output: str,
    num_processes: int = num_cores(),
    beam_flags: Sequence[str],
) -> Inventory:
    """Index and count images on this machine, regardless of the runner in the flags.

    Args:
      recognised: the parts of the inputs.
      output: path of the index.
      num_processes: processes that list local inputs.
      beam_flags: flags of the Beam runner.

    Raises:
      UsageError: the input is invalid.
      JobError: the runner failed.
    """
    if beam_flags:
        from pipelines import engine

        beam_flags = engine.use_embedded_runner(beam_flags)
    write_index(
        recognised, output=output, num_processes=num_processes, beam_flags=beam_flags
    )
    return check_index(output)


def resolve_input(
    paths: Sequence[str],
    flags: InputFlags,
    scratch: str,
    *,
    checks_images: bool = True,
    num_processes: int = num_cores(),
    beam_flags: Sequence[str] = (),
) -> tuple[str, Inventory]:
    """Read the index given as --input, or index raw ImageNet on this machine.

    Args:
      paths: the values of --input.
      flags: the other inputs.
      scratch: folder for the index of raw ImageNet.
      checks_images: whether to check that the images of an index are where they were.
      num_processes: processes that list local inputs.
      beam_flags: flags of the Beam runner.

    Returns:
      The path of the index, and its inventory.

    Raises:
      UsageError: the input is not readable, or has changed since it was indexed.
      JobError: the runner failed.
    """
    if index := index_table.only_index(paths):
        inventory = read_inventory(index)
        if checks_images:
            check_images(index, inventory)
        return index, inventory
    recognised = inputs.recognise_flags(paths, flags)
    if beam_flags:
        from pipelines import engine

        if not engine.is_embedded(engine.make_beam_options(beam_flags)):
            sys.stderr.write(
                "listing the images on this machine; to use several machines, run "
                "python -m pipelines.index --runner=... and build from its index\n"
            )
    index = f"{scratch}/index.parquet"
    inventory = index_images(
        recognised, output=index, num_processes=num_processes, beam_flags=beam_flags
    )
    return index, inventory


def check_images(index: str, inventory: Inventory) -> None:
    """Check that the images of an index are where they were, and warn of newer ones.

    Raises:
      UsageError: an input was moved, changed or deleted after it was indexed.
    """
    if moved := [root for root in inventory.roots if not storage.exists(root)]:
        raise UsageError(
            f"--input {index}: refers to images in {moved[0]}, which does not exist; "
            "restore it, or rebuild the index with python -m pipelines.index"
        )
    inputs.check_versions(index, inventory.versions)
    print_warnings(
        f"{root} is not the main branch, which is {commit} now; the indexed commit is "
        "read"
        for root in storage.list_revisions(inventory.roots)
        if (commit := storage.find_newer_commit(root))
    )


def _check_reach(options: IndexOptions, beam_flags: Sequence[str]) -> None:
    """Check that the workers can read all inputs and write the index.

    Raises:
      UsageError: lists the paths that workers cannot reach.
    """
    if not beam_flags:
        return
    from pipelines import engine

    places = [
        *options.list_image_places(options.input),
        *options.list_table_places(),
        (f"--output {options.output}", options.output),
    ]
    engine.check_reach(engine.make_beam_options(beam_flags), places)


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, beam_flags = parse(
            IndexOptions, argv, prog="python -m pipelines.index"
        )
        settle(options)
        check_output(options.output)
        storage.check_replaceable(options.output, index_table.METADATA_KEY, "an index")
        if not options.inspect:
            index_table.check_inspection_kept(options.output)
        light_imports.hide_pandas_from_arrow()
        _check_reach(options, beam_flags)
        with inputs.report_fetched():
            with phase("list") as counts:
                recognised = inputs.recognise_flags(options.input, options)
                counts["parts"] = len(recognised.parts)
            with phase("index"):
                is_done = write_index(
                    recognised,
                    output=options.output,
                    check=functools.partial(
                        check_index, require_complete=options.require_complete
                    ),
                    num_inspect_threads=options.threads if options.inspect else 0,
                    num_processes=min(options.threads, num_cores()),
                    beam_flags=beam_flags,
                )
        if is_done:  # otherwise the build that reads the index reports the counts
            if options.inspect:
                line = index_table.describe_inspection(options.output)
                sys.stderr.write(f"{line}\n")
            with phase("count") as counts:
                inventory = read_inventory(options.output)
                counts["images"] = sum(inventory.num_images.values())
            sys.stderr.write(f"{inventory.describe()}\n")
        sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
