"""Manage the output folder of a dataset: paths, lock, state and --resume."""

import dataclasses
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.building.options import BuildOptions
from pipelines.cli import cannot_write
from transforms import storage
from transforms.dataset import commit, paths
from transforms.dataset import plan as dataset_plan
from transforms.dataset.plan import PlannedShard
from transforms.records import UsageError, to_json

if TYPE_CHECKING:
    from transforms.reports.page import Page

_REMEDY = "use another --name or --dataset_version, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The folders of a dataset, below the --output folder."""

    output: str
    name: str
    version: str

    @property
    def is_remote(self) -> bool:
        """Whether the output is in a bucket, where folders cannot be renamed."""
        return storage.is_remote(self.output)

    @property
    def folder(self) -> str:
        """The folder of all versions of the dataset."""
        return f"{storage.absolute(self.output)}/{self.name}"

    @property
    def target(self) -> str:
        """The folder of the finished dataset."""
        return f"{self.folder}/{self.version}"

    @property
    def work(self) -> str:
        """The hidden work folder of an unfinished dataset."""
        return paths.name_partial(self.target)

    @property
    def root(self) -> str:
        """The folder that shards are written to; in a bucket, the target itself."""
        return self.target if self.is_remote else self.work

    @property
    def plan_only(self) -> str:
        """The folder that --plan_only writes."""
        return f"{self.target}.plan"


def find_place(options: BuildOptions) -> Place:
    """Return the folders of the dataset that the options describe."""
    return Place(
        output=options.output,
        name=options.name or "",
        version=options.dataset_version,
    )


@contextmanager
def prepare(options: BuildOptions) -> Iterator[None]:
    """Create the output folder, unless --dry_run is given.

    If the block fails, folders that were created and are empty are removed.

    Raises:
      UsageError: the output folder is not writable, or the bucket is not accessible.
    """
    if options.dry_run:
        yield
        return
    created = []
    if not storage.is_remote(options.output):
        place = Path(options.output)
        created = [path for path in (place, *place.parents) if not path.exists()]
    try:
        make_folder(options.output)
        yield
    except BaseException:
        with suppress(OSError):  # not empty
            for folder in created:
                folder.rmdir()
        raise


def scratch_folder(options: BuildOptions) -> AbstractContextManager[str]:
    """Create a temporary folder for the plan, in the output unless --dry_run is set."""
    if options.dry_run:
        return tempfile.TemporaryDirectory()
    return storage.scratch_folder(f"{options.output}/plan", ".planning-")


def make_folder(path: str) -> None:
    """Create a local folder and check that it is writable; for a URL, check the bucket.

    Raises:
      UsageError: the folder is not writable, or the bucket is not accessible.
    """
    try:
        if storage.is_remote(path):
            storage.check_bucket(path)
            return
        storage.make_folder(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def is_finished(place: Place, plan_id: str) -> bool:
    """Return whether the dataset of this plan is complete.

    In a bucket, remove the work files that a killed run left.

    Raises:
      UsageError: the target exists and is not a dataset of this plan.
    """
    if not storage.exists(place.target):
        return False
    committed_id = read_committed(place.target)
    if committed_id is None and place.is_remote and read_plan_id(place) is not None:
        return False  # shards without a commit mark
    if committed_id is None:
        raise UsageError(
            f"--output: {place.target} exists and is not a finished dataset; {_REMEDY}"
        )
    if committed_id != plan_id:
        raise UsageError(
            f"--output: {place.target} contains another dataset; {_REMEDY}"
        )
    if place.is_remote and read_plan_id(place) == plan_id:
        commit.remove_work(place.work)  # a run was killed after the commit mark
    return True


def read_committed(directory: str) -> str | None:
    """Return the plan id of a finished dataset; None if there is no such dataset.

    Raises:
      OSError: the store does not respond, so the dataset may exist.
    """
    try:
        storage.read(f"{directory}/{paths.COMPLETE}")
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        return recipe["plan_id"]
    except (ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # the dataset may exist
            raise
        return None


def read_plan_id(place: Place) -> str | None:
    """Return the plan id of the unfinished dataset; None if there is none."""
    try:
        return storage.read(f"{place.work}/{paths.PLAN_ID}").decode()
    except FileNotFoundError:
        return None


def write_plan(
    place: Place,
    plan_folder: str,
    shards: Sequence[PlannedShard],
    *,
    scratch: str,
    groups_csv: bytes,
    recipe: Mapping[str, Any],
    statistics: Mapping[str, Any],
    page: "Page",
) -> str:
    """Write the files of --plan_only to a folder; a local folder appears atomically.

    Args:
      place: the folders of the dataset.
      plan_folder: folder of the plan's files.
      shards: the shards of the plan.
      scratch: temporary folder on the same file system.
      groups_csv: contents of groups.csv.
      recipe: contents of recipe.json.
      statistics: contents of statistics.json.
      page: contents of plan.html.

    Returns:
      The path of the folder.
    """
    # Jinja's import takes a twentieth of a second, which a build does not need.
    from transforms.reports.page import write as write_page

    root = place.plan_only if place.is_remote else f"{scratch}/plan_only"
    files = {
        "groups.csv": groups_csv,
        "recipe.json": to_json(recipe),
        "statistics.json": to_json(statistics),
    }
    for path, data in files.items():
        storage.write(root, path, data)
    write_page(root, paths.PLAN_PAGE, page)
    dataset_plan.merge_parts(plan_folder, shards, f"{root}/images.parquet")
    if not place.is_remote:
        make_folder(place.folder)
        storage.remove_folder(place.plan_only)
        storage.rename_folder(root, place.plan_only)
    return place.plan_only


def acquire_output(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> AbstractContextManager[bool]:
    """Lock the work folder and create or resume it; the block holds the lock.

    The state of the folder is checked only while the lock is held.

    Args:
      place: the folders of the dataset.
      plan_id: id of the plan.
      plan_folder: folder of the plan's files, which moves to the work folder.
      resume: whether an unfinished dataset of this plan is continued.

    Yields:
      Whether there is work; False if another run has finished the dataset.

    Raises:
      UsageError: the work folder has an unfinished dataset that cannot be
        resumed, the target has another dataset, or another run holds the lock.
    """
    acquire = _acquire_in_bucket if place.is_remote else _acquire_folder
    return acquire(place, plan_id, plan_folder, resume=resume)


@contextmanager
def _acquire_folder(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    descriptor = _lock_folder(place)
    try:
        make_folder(place.work)  # another user may own it
        if storage.exists(place.target):
            with suppress(OSError):  # created for the lock only
                Path(place.work).rmdir()
            yield not is_finished(place, plan_id)
            return
        _check_unfinished(place, plan_id, resume=resume)
        # First, so that a run that is killed later can be resumed.
        storage.write(place.work, paths.PLAN_ID, plan_id.encode())
        # Sidecars of an earlier run may list failures that no longer occur.
        storage.remove_file(f"{place.work}/{paths.COMPLETE}")
        storage.remove_folder(f"{place.work}/plan")
        Path(plan_folder).rename(f"{place.work}/plan")
        yield True
    finally:
        os.close(descriptor)


def _lock_folder(place: Place) -> int:
    """Lock the work folder and return its file descriptor.

    Raises:
      UsageError: another run holds the lock, or the path is not a folder.
    """
    if storage.exists(place.work) and not storage.is_folder(place.work):
        raise UsageError(f"--output: {place.work} is not a folder; remove it")
    try:
        return storage.lock_folder(place.work)
    except BlockingIOError:
        raise _locked(place) from None


def _locked(place: Place) -> UsageError:
    return UsageError(
        f"--output: another run holds the lock on {place.work}; wait for it, or use "
        "another --name"
    )


@contextmanager
def _acquire_in_bucket(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    """Acquire a work folder in a bucket by creating its plan id file.

    Only one run can create this file. Runs that resume the same plan do not exclude
    each other, because they write identical bytes.
    """
    _check_unfinished(place, plan_id, resume=resume)
    try:
        is_new = storage.create(place.work, paths.PLAN_ID, plan_id.encode())
    except OSError as error:
        raise cannot_write(place.output, error) from error
    if not is_new and read_plan_id(place) != plan_id:
        raise _locked(place)
    if read_committed(place.target):  # another run finished meanwhile
        commit.remove_work(place.work)
        yield not is_finished(place, plan_id)
        return
    if is_new:
        storage.remove_folder(f"{place.work}/parts")
    storage.copy_folder(plan_folder, f"{place.work}/plan")
    yield True


def _is_empty(place: Place) -> bool:
    """Return whether the work folder has only leftovers of earlier runs.

    Leftovers are temporary plan id files and, in a bucket, files of parts and plans.
    """
    names = {entry.name for entry in storage.list_folder(place.work)}
    return all(
        (name in {"parts", "plan"} and place.is_remote)
        or name.startswith(f".{paths.PLAN_ID}.")
        for name in names
    )


def _check_unfinished(place: Place, plan_id: str, *, resume: bool) -> None:
    if not storage.exists(place.work):
        return
    existing_id = read_plan_id(place) or read_committed(place.root)
    if existing_id is None and _is_empty(place):
        return
    if existing_id != plan_id:
        raise UsageError(
            f"--output: {place.work} is an unfinished dataset of another plan; "
            "use another --name or --dataset_version, or remove it"
        )
    if not resume:
        raise UsageError(
            f"--output: {place.work} is unfinished; use --resume to continue, or "
            "remove it to start again"
        )
