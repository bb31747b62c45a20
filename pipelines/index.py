"""Raw ImageNet → an index: one row an image, with where its bytes lie."""

import dataclasses
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import inputs
from pipelines.options import exit_codes, flag, parse
from pipelines.storing import StoreFlags, settle
from transforms import storage
from transforms.pieces import Piece
from transforms.records import UsageError
from transforms.tables import index_table
from transforms.tables.inventory import Inventory, read_inventory

if TYPE_CHECKING:
    import apache_beam as beam


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexOptions(StoreFlags):
    """List every image of ImageNet, with where its bytes lie, in one Parquet file."""

    input: tuple[str, ...] = flag(
        "raw ImageNet: archive, folder or bucket prefix; repeatable"
    )
    output: str = flag("the index to write, e.g. imagenet.parquet", metavar="FILE")
    validation_labels: str | None = flag(
        "labels of flat validation images (LOC_val_solution.csv beside them, else the "
        "official ones where they fit)",
        default=None,
        metavar="FILE",
    )
    inspect: bool = flag(
        "also read every image once: format, size, checksum, and whether it is whole",
        default=False,
    )
    threads: int = flag("threads that inspect", default=len(os.sched_getaffinity(0)))

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        yield from self.find_store_problems()
        if self.output and not index_table.is_index(self.output):
            yield f"--output {self.output}: must end in .parquet"
        is_local = not storage.is_remote(self.output or "")
        if self.output and is_local and Path(self.output).is_dir():
            yield f"--output {self.output}: is a folder; name a file"
        if self.threads < 1:
            yield f"--threads {self.threads}: must be at least 1"


def define_pipeline(
    root: "beam.Pipeline",
    pieces: Sequence[Piece],
    *,
    output: str,
    parts_folder: str,
    num_inspect_threads: int = 0,
    ticks: str | None = None,
) -> None:
    """Wire find → label → write index."""
    import apache_beam as beam  # noqa: PLC0415  # takes a second that --help has not

    from transforms.find import FindImages  # noqa: PLC0415
    from transforms.index import WriteIndex  # noqa: PLC0415
    from transforms.label import LabelImages  # noqa: PLC0415

    roots = {piece.input: piece.root for piece in pieces}
    _ = (
        root
        | "ListPieces" >> beam.Create(list(enumerate(pieces)))
        | FindImages()
        | LabelImages()
        | WriteIndex(
            output=output,
            parts_folder=parts_folder,
            roots=[roots[number] for number in sorted(roots)],
            num_inspect_threads=num_inspect_threads,
            ticks=ticks,
        )
    )


def index_images(
    pieces: Sequence[Piece],
    *,
    output: str,
    num_inspect_threads: int,
    beam_flags: Sequence[str],
) -> Inventory:
    """Run the index job and count what it found.

    Raises: UsageError: an archive, label or image name that the user must mend.
    """
    from pipelines import engine  # noqa: PLC0415  # Beam's import takes a second
    from transforms import progress  # noqa: PLC0415

    place = storage.absolute(output)
    name = place.rpartition("/")[2]
    storage.clear_temporary(place)
    with storage.scratch_folder(place, f".{name}.") as folder:
        ticks = f"{folder}/ticks"
        define = functools.partial(
            define_pipeline,
            pieces=pieces,
            output=place,
            parts_folder=folder,
            num_inspect_threads=num_inspect_threads,
            ticks=ticks,
        )
        with progress.show(ticks, total=len(pieces), what="finding", unit="piece"):
            engine.run(define, engine.make_beam_options(beam_flags))
    try:
        inventory = read_inventory(place)
    except UsageError:
        storage.remove_file(place)  # nobody shall build from it
        raise
    if not inventory.num_images:
        storage.remove_file(place)
        raise UsageError("no usable images in " + ", ".join(inventory.roots))
    return inventory


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, beam_flags = parse(
            IndexOptions, argv, prog="python -m pipelines.index"
        )
        beam_flags = settle(options, beam_flags)
        pieces, told = inputs.find_pieces(options.input, options.validation_labels)
        for line in told:
            sys.stderr.write(f"found {line}\n")
        inventory = index_images(
            pieces,
            output=options.output,
            num_inspect_threads=options.threads if options.inspect else 0,
            beam_flags=beam_flags,
        )
    sys.stderr.write(inventory.describe() + "\n")
    sys.stdout.write(f"{storage.absolute(options.output)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
