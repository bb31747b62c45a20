"""Select the images of a build with a sampler that selects them itself.

An example is the sampler `list`, which selects the images in a file.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.building.options import BuildOptions, Request
from transforms import sampling, storage
from transforms.dataset import plan as dataset_plan
from transforms.dataset.plan import PlannedShard
from transforms.grouping.table import GroupTable
from transforms.index import table as index_table
from transforms.index.completeness import ClassSplit
from transforms.index.inventory import Inventory
from transforms.records import UsageError, list_names
from transforms.sampling import image_list
from transforms.sampling import plan as sample_plan
from transforms.sampling.plan import FixedSelection, SamplingRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedImages:
    """The images that a sampler has selected before the classes are grouped.

    Attributes:
      folder: folder of the sampler's output (`sample_plan.write_splits`).
      num_named: number of training and validation images that the sampler selected.
      num_images: the same, including the validation images that are added to them.
      missing: names of the images that the input lacks.
      notes: messages for the user.
    """

    folder: str
    num_named: Mapping[ClassSplit, int]
    num_images: Mapping[ClassSplit, int]
    missing: Sequence[str]
    notes: tuple[str, ...]

    def restrict(self, inventory: Inventory) -> Inventory:
        """Return an inventory with the counts of the selected images."""
        return dataclasses.replace(inventory, num_images=self.num_images, num_bad={})

    def find_outside(self, request: Request, table: GroupTable) -> Iterator[str]:
        """Yield an error if selected images belong to classes that are in no group.

        If the sampler's options leave these images out, print a note instead.
        """
        outside: Counter[str] = Counter()
        for (wnid, _), count in self.num_named.items():
            if wnid not in table.label_of:
                outside[wnid] += count
        if not outside:
            return
        options = request.options
        shown = list_names(f"{wnid}: {n}" for wnid, n in sorted(outside.items()))
        described = (
            f"{outside.total()} of {sum(self.num_named.values())} listed images "
            f"are of {len(outside)} classes in no group ({shown})"
        )
        if sampling.drops_outside(request.sampling_options):
            sys.stderr.write(f"{described}; they are left out\n")
        else:
            yield (
                f"--images {options.images}: {described}; use a grouping that has "
                f"these classes, or --{options.sampling}_outside drop"
            )


def check_table(options: BuildOptions) -> None:
    """Check the table of the sampler, if any, before the input is read.

    Raises:
      UsageError: the table is invalid.
    """
    for table in sampling.list_tables(options.sampling)[:1]:
        sampling.check_table(options.sampling, getattr(options, table))


def select_images(
    request: Request, index: str, inventory: Inventory, scratch: str
) -> FixedImages | None:
    """Run a sampler that selects the images itself; return None for other samplers.

    Args:
      request: the dataset to build.
      index: path of the index.
      inventory: counts of the index.
      scratch: folder for the sampler's output.

    Raises:
      UsageError: the sampler's table is invalid, contradicts the input or the flags, or
        names more than --max_missing images that the input lacks.
    """
    options = request.options
    if not sampling.is_fixed(options.sampling):
        return None
    columns = ["key", "wnid", "split"]
    row_groups = [
        index_table.read_row_group(index, number).select(columns)
        for number in range(inventory.num_row_groups)
    ]
    images = pa.concat_tables(row_groups)
    output: FixedSelection = sampling.load(options.sampling).arrange(
        SamplingRequest(
            read_images=lambda: images, seed=options.seed, images_file=options.images
        ),
        request.sampling_options,
    )
    if len(output.missing) > options.max_missing:
        raise UsageError(
            f"{_describe_missing(options, output.missing)}; give the input that has "
            f"them, or --max_missing {len(output.missing)}"
        )
    used_splits = pc.unique(output.splits).to_pylist()
    if {"fold_a", "fold_b"}.intersection(used_splits) and options.folds == 1:
        raise UsageError(
            f"--images {options.images}: has the splits fold_a and fold_b; give "
            "--folds 2"
        )
    folder = str(Path(scratch, "fixed").absolute())
    sizes = [table.num_rows for table in row_groups]
    named = _count_images(images["wnid"], output.splits)
    splits = output.splits
    if output.adds_validation:
        of_classes = pa.array({wnid for wnid, _ in named}, pa.string())
        is_added = pc.and_(
            pc.is_in(images["wnid"], value_set=of_classes),
            pc.equal(images["split"], "validation"),
        )
        splits = pc.if_else(is_added, "validation", splits)
    sample_plan.write_splits(splits, sizes, folder)
    return FixedImages(
        folder=folder,
        num_named=named,
        num_images=_count_images(images["wnid"], splits),
        missing=output.missing,
        notes=output.notes,
    )


def report_missing(options: BuildOptions, fixed: FixedImages | None) -> None:
    """Print how many listed images are missing, and write their names to a file."""
    if fixed and fixed.missing:
        sys.stderr.write(f"{_describe_missing(options, fixed.missing)}\n")


def _describe_missing(options: BuildOptions, missing: Sequence[str]) -> str:
    """Write the names of missing images to a file, and describe them.

    With --dry_run, no file is written.
    """
    where = "--dry_run writes no list of them"
    if not options.dry_run:
        stem = (options.images or "").rpartition("/")[2].rpartition(".")[0]
        name = f"{stem or 'images'}_missing.txt"
        text = "".join(f"{line}\n" for line in missing)
        storage.write(storage.absolute(options.output), name, text.encode())
        where = f"all are named in {options.output}/{name}"
    return (
        f"--images {options.images}: {len(missing)} of its images are not among the "
        f"usable images of the input ({list_names(missing)}); {where}"
    )


def _count_images(wnids: pa.ChunkedArray, splits: pa.Array) -> Mapping[ClassSplit, int]:
    """Count the selected images by class and split; folds are part of "train"."""
    is_validation = pc.equal(splits, "validation")
    table = pa.table({
        "wnid": wnids,
        "split": pc.if_else(is_validation, "validation", "train"),
    }).filter(pc.not_equal(splits, ""))
    counts = table.group_by(["wnid", "split"]).aggregate([([], "count_all")])
    return {
        ClassSplit(row["wnid"], row["split"]): row["count_all"]
        for row in sorted(counts.to_pylist(), key=lambda row: row["wnid"])
    }


def export(folder: str, shards: Sequence[PlannedShard], path: str) -> None:
    """Write the list of the images of the plan in `folder` to the file `path`."""
    image_list.write(path, dataset_plan.read_images(folder, shards))
    sys.stderr.write(f"the selected images are listed in {path}\n")
