"""Verify that a finished dataset is complete, unchanged and readable.

The checks cover files, manifest, counts, labels, names, images, the output of each
installed reader, and keys that occur in two splits. A failed check (MISMATCH) sets exit
code 1. Identical source bytes under different keys only cause a warning, because
ImageNet itself contains such duplicates, within and across its splits. With --input,
the dataset is also compared with its source images. Files are read by several processes
or, with flags of Beam, on its engines.
"""

import dataclasses
import json
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli import exit_codes, parse
from pipelines.index import resolve_input
from pipelines.input_flags import NO_PATH, InputFlags
from pipelines.store_flags import StoreFlags, settle
from transforms import progress, storage
from transforms.dataset import paths
from transforms.dataset import plan as dataset_plan
from transforms.options import flag
from transforms.processes import num_cores
from transforms.records import UsageError, check_all_arrived
from transforms.verification import (
    checks,
    images,
    input_comparison,
    reader_comparison,
    readers,
    sidecars,
    task_planning,
    tasks,
)
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles, FileResults
from transforms.verification.input_comparison import SourceIndex
from transforms.verification.local_tasks import LocalTasks
from transforms.verification.results import Row
from transforms.verification.tasks import Task, TaskSettings

if TYPE_CHECKING:
    import apache_beam as beam

_PROG = "python -m pipelines.verify"
_REMEDY = "the dataset is not verified; run again, and without --runner if this repeats"
_NUM_COMPARED, _ALL = "1000", "all"
_CHECKS = {
    "commit mark": checks.check_mark,
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
        absent=NO_PATH,
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
    work: str | None = flag(
        "folder or bucket for intermediate results, removed at the end; required with "
        "--runner, because workers must reach it (default: a temporary folder)",
        default=None,
        metavar="DIR",
    )
    threads: int = flag(
        "processes that check files and run readers at the same time; with --runner, "
        "used only to compare images with --input",
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
        return paths.describe_missing(directory)
    if storage.is_folder(f"{directory}/__meta__"):
        return ""
    place = Path(directory)
    if place.name.endswith(".partial"):
        return "is unfinished; run the same build with --resume"
    if dataset_plan.is_plan(directory):
        return dataset_plan.describe_unfinished(directory)
    inside = sorted(path.parent for path in place.glob("*/__meta__"))
    inside += sorted(path.parent for path in place.glob("*/*/__meta__"))
    if inside:
        return f"is not a dataset but contains some; give {inside[0]}"
    return "is not a dataset (it has no __meta__); give OUTPUT/NAME/VERSION"


def verify(options: VerifyOptions, beam_flags: Sequence[str] = ()) -> Iterator[Row]:
    """Run every check and yield its result; a failed check does not stop the others.

    Args:
      options: the job's options.
      beam_flags: flags of Beam; with them, the files are checked on Beam's runner.

    Raises:
      UsageError: the input is not readable, or workers cannot reach a path.
      JobError: the input could not be indexed, a process was ended, or the engine
        failed or lost parts of the dataset.
    """
    if beam_flags:
        _check_engine(options, beam_flags)
    with tempfile.TemporaryDirectory() as scratch:
        index = _open_input(options, scratch) if options.has_source else None
        with _make_work(options.work or scratch) as work:
            yield from _check(options, index, work=work, beam_flags=beam_flags)


def _check_engine(options: VerifyOptions, beam_flags: Sequence[str]) -> None:
    """Check that the engine's workers can reach the dataset and return their results.

    Raises:
      UsageError: lists all problems.
    """
    from pipelines import engine

    beam_options = engine.make_beam_options(beam_flags)
    if not engine.waits_for_end(beam_options):
        no_wait = "no_wait_until_finish"
        is_given = beam_options.get_all_options()[no_wait]
        name = no_wait if is_given else "template_location"
        raise UsageError(
            f"--{name}: {_PROG} has more to do after its pipeline; leave the flag out"
        )
    if options.work is None and not engine.is_embedded(beam_options):
        raise UsageError(
            "--work: is required with --runner; give a folder or a bucket that the "
            "workers reach"
        )
    places = {"--dataset": options.dataset, "--work": options.work}
    engine.check_reach(beam_options, [(n, path) for n, path in places.items() if path])


@contextmanager
def _make_work(folder: str) -> Iterator[str]:
    """Create a folder for intermediate results, and remove it at the end."""
    if not storage.is_remote(folder):
        storage.make_folder(folder)
        with tempfile.TemporaryDirectory(prefix="verify-", dir=folder) as work:
            yield str(Path(work).absolute())
        return
    work = f"{storage.absolute(folder)}/verify-{uuid.uuid4().hex}"
    try:
        yield work
    finally:
        storage.remove_folder(work)


def _open_input(options: VerifyOptions, scratch: str) -> SourceIndex:
    """Open or create the index of the input, as `pipelines.build` does."""
    path, inventory = resolve_input(options.input, options, scratch)
    inventory.check_usable()
    return SourceIndex(path=path, inventory=inventory)


def _check(
    options: VerifyOptions,
    index: SourceIndex | None,
    *,
    work: str,
    beam_flags: Sequence[str],
) -> Iterator[Row]:
    dataset = DatasetFiles(storage.absolute(options.dataset), options.threads)
    planned = _plan_tasks(options, dataset, is_on_engine=bool(beam_flags))
    ticks = f"{work}/ticks" if planned and not beam_flags else None
    settings = task_planning.make_settings(dataset, work, ticks)
    total = task_planning.count_reads(planned)
    with (
        progress.show(ticks, total=total, what="verifying", unit="image"),
        closing(_make_runner(planned, settings, options, beam_flags)) as running,
    ):
        running.start()
        mark, *others = (
            check_results.run(name, partial(check, dataset))
            for name, check in _CHECKS.items()
        )
        running.wait()
    results = FileResults(dataset, tasks.read_checked(planned, work))
    yield mark
    yield check_results.run("files and checksums", partial(checks.check_files, results))
    yield from others
    yield check_results.run("images", partial(images.check_images, results))
    for name, check in _WARNINGS.items():
        yield check_results.run(
            name, partial(check, dataset), found=check_results.WARNING
        )
    if index:
        yield from input_comparison.compare(
            dataset, index, num_images=options.num_images
        )
    yield from reader_comparison.compare_all(options.readers, results, planned, work)


def _plan_tasks(
    options: VerifyOptions, dataset: DatasetFiles, *, is_on_engine: bool
) -> list[Task]:
    """Divide the reading of the files into tasks; unreadable datasets have none."""
    try:
        dataset.list_present()
    except check_results.UNREADABLE:  # as the checks report
        return []
    names = reader_comparison.list_readers(options.readers, dataset)
    names.sort(key=lambda name: not readers.load(name).LIBRARY)  # the slowest first
    ranges: Mapping[str, images.ByteRanges] = {}
    with suppress(*check_results.UNREADABLE):  # of the manifest, as above
        ranges = images.list_byte_ranges(dataset)
    num_threads = 1 if is_on_engine else options.threads
    plan = task_planning.plan_side_by_side
    if is_on_engine or storage.is_remote(dataset.directory):
        plan = task_planning.plan_by_part
    return list(plan(dataset, ranges, names, num_threads))


def _make_runner(
    planned: Sequence[Task],
    settings: TaskSettings,
    options: VerifyOptions,
    beam_flags: Sequence[str],
) -> "LocalTasks | EngineTasks":
    if planned and beam_flags:
        return EngineTasks(planned, settings, beam_flags)
    return LocalTasks(planned, settings, options.threads)


class EngineTasks:
    """Run tasks on Beam's runner, with the methods of `LocalTasks`.

    Args:
      planned: the tasks.
      settings: settings of all tasks.
      beam_flags: flags of Beam.
    """

    def __init__(
        self, planned: Sequence[Task], settings: TaskSettings, beam_flags: Sequence[str]
    ) -> None:
        self._planned = planned
        self._settings = settings
        self._beam_flags = beam_flags

    def start(self) -> None:
        """Write the tasks for the workers; `wait` runs them."""
        for task in self._planned:
            tasks.save_task(task, self._settings.work)

    def wait(self) -> None:
        """Run all tasks.

        Raises:
          JobError: the engine failed or lost tasks.
        """
        from pipelines import engine

        num_tasks = len(self._planned)
        arrived = f"{self._settings.work}/{tasks.ARRIVED}"
        engine.run(
            partial(define_pipeline, num_tasks=num_tasks, settings=self._settings),
            engine.make_beam_options(self._beam_flags),
            is_complete=lambda: storage.is_file(arrived),
        )
        check_all_arrived(
            json.loads(storage.read(arrived)),
            range(num_tasks),
            what="parts of the dataset",
            remedy=_REMEDY,
        )

    def close(self) -> None:
        """Do nothing: `wait` leaves no tasks that run."""


def define_pipeline(
    root: "beam.Pipeline", *, num_tasks: int, settings: TaskSettings
) -> None:
    """Wire the pipeline that checks the parts of a dataset."""
    import apache_beam as beam

    from transforms.verification.steps import RunTasks

    numbers = root | "ListTasks" >> beam.Create(range(num_tasks), reshuffle=False)
    _ = numbers | RunTasks(settings)


def give_verdict(rows: Sequence[Row]) -> str:
    """Summarise the results of all checks in one line."""
    bad = [row.check for row in rows if row.result == check_results.MISMATCH]
    if bad:
        return f"MISMATCH in {len(bad)} of {len(rows)} checks: {', '.join(bad)}"
    warned = sum(row.result == check_results.WARNING for row in rows)
    absent = [row.check for row in rows if row.result == check_results.NOT_INSTALLED]
    num_run = sum(row.result not in check_results.WITHOUT_CHECK for row in rows)
    notes = f", {warned} with a warning" if warned else ""
    notes += f", not {', '.join(absent)}" if absent else ""
    return f"ok: {num_run} checks{notes}"


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
        options, _, beam_flags = parse(VerifyOptions, name_positional(argv), prog=_PROG)
        settle(options)
        is_remote = storage.is_remote(options.dataset)
        if is_remote and (problems := list(find_problems(options.dataset))):
            raise UsageError("\n".join(problems))
        rows = list(verify(options, beam_flags))
        sys.stdout.write(f"{check_results.format_table(rows)}\n{give_verdict(rows)}\n")
    sys.exit(any(row.result == check_results.MISMATCH for row in rows))


if __name__ == "__main__":
    main(sys.argv[1:])
