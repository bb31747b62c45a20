"""Verify that a finished dataset is complete, unchanged and readable.

The checks cover files, manifest, counts, labels, names, images, the output of each
installed reader, and keys that occur in two splits. A failed check (MISMATCH) sets exit
code 1. Identical source bytes under different keys only cause a warning, because
ImageNet itself contains such duplicates, within and across its splits. With --input,
the dataset is also compared with its source images.
"""

import dataclasses
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipelines.cli import exit_codes, parse
from pipelines.input_flags import InputFlags
from pipelines.store_flags import StoreFlags, settle
from transforms import storage
from transforms.options import flag
from transforms.processes import num_cores
from transforms.records import UsageError
from transforms.verification import (
    checks,
    images,
    opening,
    readers,
    sidecars,
    source,
)
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Row
from transforms.verification.source import SourceIndex

_PROG = "python -m pipelines.verify"
_NUM_COMPARED, _ALL = "1000", "all"
_CHECKS = {
    "commit mark": checks.check_mark,
    "files and checksums": checks.check_files,
    "list of files": checks.check_layout,
    "subset id": checks.check_subset_id,
    "groups": checks.check_groups,
    "recipe": checks.check_recipe,
    "keys": checks.check_keys,
    "labels": checks.check_labels,
    "sources": checks.check_sources,
    "shards and order": checks.check_order,
    "counts": checks.check_counts,
    "sidecars and card": sidecars.check_sidecars,
    "preview": sidecars.check_preview,
    "copies within splits": checks.check_repeats,
    "images": images.check_images,
}
_WARNINGS = {
    "wording": sidecars.check_wording,
    "leaks between splits": checks.check_leaks,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions(InputFlags, StoreFlags):
    """Check that a dataset is complete and unchanged, and that readers can open it.

    The word --dataset can be omitted: python -m pipelines.verify subsets/NAME/1.0.0
    """

    dataset: str = flag("folder of the dataset, OUTPUT/NAME/VERSION", metavar="DIR")
    input: tuple[str, ...] = flag(
        "raw ImageNet or an index, as for pipelines.build; compares the dataset with "
        "its source",
        default=(),
        metavar="PATH",
    )
    images: str = flag(
        "number of images, selected by hash, to convert again from their source and "
        "compare, or all; requires --input",
        default=_NUM_COMPARED,
        metavar="N|all",
    )
    readers: tuple[str, ...] = flag(
        "readers that open the dataset if they are installed, separated by commas",
        default=readers.READERS,
        choices=readers.READERS,
        split=",",
    )
    threads: int = flag(
        "threads that hash files and decode images",
        default=num_cores(),
        default_note="one per core",
        minimum=1,
        maximum=1024,
    )

    @property
    def num_images(self) -> int | None:
        """The number of images to compare with their source; None for all."""
        return None if self.images == _ALL else int(self.images)

    @property
    def has_source(self) -> bool:
        """Whether to compare the dataset with its source."""
        return bool(self.input or self.train_input or self.validation_input)

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        if self.images != _ALL and not re.fullmatch("[1-9][0-9]*", self.images):
            yield f"--images {self.images}: must be a whole number from 1, or {_ALL}"
        yield from self.find_input_problems(self.input)
        given = {
            "--validation_labels": self.validation_labels is not None,
            "--class_list": self.class_list is not None,
            "--images": self.images != _NUM_COMPARED,
        }
        if not self.has_source:
            yield from (
                f"{name}: applies only with --input" for name in given if given[name]
            )
        if self.dataset and not storage.is_remote(self.dataset):
            yield from find_problems(self.dataset)


def find_problems(directory: str) -> Iterator[str]:
    """Yield a problem if the path is not the folder of a dataset."""
    if problem := find_problem(directory):
        yield f"--dataset {directory}: {problem}"


def find_problem(directory: str) -> str:
    """Return why a path is not the folder of a dataset, with the remedy, or ""."""
    if not storage.is_folder(directory):
        return "is not a folder; give OUTPUT/NAME/VERSION, as printed by build"
    if storage.is_folder(f"{directory}/__meta__"):
        return ""
    place = Path(directory)
    if place.name.endswith(".partial"):
        return "is unfinished; run the same build with --resume"
    inside = sorted(path.parent for path in place.glob("*/__meta__"))
    inside += sorted(path.parent for path in place.glob("*/*/__meta__"))
    if inside:
        return f"is not a dataset but contains some; give {inside[0]}"
    return "is not a dataset (it has no __meta__); give OUTPUT/NAME/VERSION"


def verify(options: VerifyOptions) -> Iterator[Row]:
    """Run every check and yield its result; a failed check does not stop the others.

    Raises:
      UsageError: the input is not readable.
    """
    with tempfile.TemporaryDirectory() as scratch:
        index = _open_input(options, scratch) if options.has_source else None
        yield from _check(options, index)


def _open_input(options: VerifyOptions, scratch: str) -> SourceIndex:
    """Open or create the index of the input, as `pipelines.build` does."""
    # Beam's import takes a second, which other runs do not need.
    from pipelines.building import planning  # noqa: PLC0415
    from pipelines.building.options import BuildOptions, Request  # noqa: PLC0415

    request = Request(
        options=BuildOptions(
            input=options.input,
            train_input=options.train_input,
            validation_input=options.validation_input,
            validation_labels=options.validation_labels,
            class_list=options.class_list,
        ),
        grouping_options=None,
        sampling_options=None,
        beam_flags=(),
    )
    path, inventory = planning.resolve_input(request, scratch)
    return SourceIndex(path=path, inventory=inventory)


def _check(options: VerifyOptions, index: SourceIndex | None) -> Iterator[Row]:
    dataset = DatasetFiles(storage.absolute(options.dataset), options.threads)
    for name, check in _CHECKS.items():
        yield check_results.run(name, partial(check, dataset))
    for name, check in _WARNINGS.items():
        yield check_results.run(
            name, partial(check, dataset), found=check_results.WARNING
        )
    if index:
        yield from source.compare(dataset, index, num_images=options.num_images)
    yield from opening.open_all(options.readers, dataset)


def give_verdict(rows: Sequence[Row]) -> str:
    """Summarise the results of all checks in one line."""
    bad = [row.check for row in rows if row.result == check_results.MISMATCH]
    if bad:
        return f"MISMATCH in {len(bad)} of {len(rows)} checks: {', '.join(bad)}"
    warned = sum(row.result == check_results.WARNING for row in rows)
    absent = [row.check for row in rows if row.result == check_results.NOT_INSTALLED]
    notes = f", {warned} with a warning" if warned else ""
    notes += f", not {', '.join(absent)}" if absent else ""
    if any(row.result == check_results.NOT_RUN for row in rows):
        notes += ", not opened with any reader, because it is in a bucket"
    return f"ok: {len(rows)} checks{notes}"


def name_positional(argv: Sequence[str]) -> list[str]:
    """Rewrite the positional argument as --dataset.

    The positional argument is the first word if that is not a flag. Otherwise it is the
    last word that does not directly follow a flag, since flags such as --input accept
    several values.
    """
    if any(word.partition("=")[0] == "--dataset" for word in argv):
        return list(argv)
    alone = [
        position
        for position, (word, before) in enumerate(zip(argv, ["", *argv], strict=False))
        if not word.startswith("-")
        and not (before.startswith("--") and "=" not in before and before != "--help")
    ]
    if not alone:
        return list(argv)
    chosen = 0 if alone[0] == 0 else alone[-1]
    dataset = f"--dataset={argv[chosen]}"
    return [*argv[:chosen], dataset, *argv[chosen + 1 :]]


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(
            VerifyOptions, name_positional(argv), prog=_PROG, takes_beam_flags=False
        )
        settle(options)
        is_remote = storage.is_remote(options.dataset)
        if is_remote and (problems := list(find_problems(options.dataset))):
            raise UsageError("\n".join(problems))
        rows = list(verify(options))
        sys.stdout.write(f"{check_results.format_table(rows)}\n{give_verdict(rows)}\n")
    sys.exit(any(row.result == check_results.MISMATCH for row in rows))


if __name__ == "__main__":
    main(sys.argv[1:])
