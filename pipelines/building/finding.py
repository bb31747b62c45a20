"""What a build is given → an index of its images, and where workers read them."""

import sys
from collections.abc import Sequence

from pipelines import engine, inputs, remote_engines
from pipelines.building.options import BuildOptions
from pipelines.index import index_images
from transforms import storage
from transforms.records import UsageError
from transforms.tables import index_table
from transforms.tables.inventory import Inventory, read_inventory


def check_reach(options: BuildOptions, beam_flags: Sequence[str]) -> None:
    """See that workers can read every image, and write the dataset.

    Raises: UsageError: every input, root of an index, or output out of their reach.
    """
    beam_options = engine.make_beam_options(beam_flags)
    if not remote_engines.has_own_files(beam_options):
        return  # before the index is read for its roots
    places = [(f"--input {path}", path) for path in options.input]
    if index := index_table.only_index(options.input):
        roots = index_table.read_description(index)["inputs"]
        places = [(f"--input {index}: an index of images in {r}", r) for r in roots]
    places.append((f"--output {options.output}", options.output))
    remote_engines.check_reach(beam_options, places)


def find_images(
    options: BuildOptions, *, scratch: str, beam_flags: Sequence[str]
) -> tuple[str, Inventory]:
    """Take the index that is given, or make one of raw ImageNet, on this machine.

    Raises: UsageError: what the user must mend.
    """
    if index := index_table.only_index(options.input):
        inventory = read_inventory(index)
        if not options.dry_run:
            _check_roots(index, inventory.roots)
            inputs.check_versions(index, inventory.versions)
    else:
        pieces, told = inputs.find_pieces(options.input, options.validation_labels)
        for line in told:
            sys.stderr.write(f"found {line}\n")
        if not engine.is_embedded(engine.make_beam_options(beam_flags)):
            sys.stderr.write(
                "listing the images on this machine; python -m pipelines.index "
                "--runner=... lists them on many, for an index to build from\n"
            )
        index = f"{scratch}/index.parquet"
        inventory = index_images(pieces, output=index, beam_flags=beam_flags)
    sys.stderr.write(inventory.describe() + "\n")
    if not inventory.num_images:
        raise UsageError(f"--input {' '.join(options.input)}: no usable images")
    return index, inventory


def _check_roots(index: str, roots: Sequence[str]) -> None:
    if moved := [root for root in roots if not storage.exists(root)]:
        raise UsageError(
            f"--input {index}: its images lay in {moved[0]}, which is gone; put "
            "them back, or make the index again with python -m pipelines.index"
        )
