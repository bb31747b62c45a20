"""Where a dataset is made and appears, and what may already lie there."""

import dataclasses
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipelines.cli import cannot_write
from transforms import storage
from transforms.dataset import commit, paths
from transforms.dataset import plan as dataset_plan
from transforms.records import UsageError, to_json
from transforms.reports.page import Page
from transforms.reports.page import write as write_page

_REMEDY = "give another --name or --dataset_version, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The directories of one dataset."""

    output: str
    name: str
    version: str

    @property
    def is_remote(self) -> bool:
        """Whether it lies in a bucket, where nothing can be renamed."""
        return storage.is_remote(self.output)

    @property
    def folder(self) -> str:
        """All versions of the dataset."""
        return f"{storage.absolute(self.output)}/{self.name}"

    @property
    def target(self) -> str:
        """The finished dataset."""
        return f"{self.folder}/{self.version}"

    @property
    def work(self) -> str:
        """What is known while it is made; no reader looks at a hidden directory."""
        return f"{self.folder}/.{self.version}.partial"

    @property
    def root(self) -> str:
        """The dataset while it is made: in a bucket under its name at once."""
        return self.target if self.is_remote else self.work

    @property
    def plan_only(self) -> str:
        """What --plan_only writes."""
        return f"{self.target}.plan"


def make_folder(path: str) -> None:
    """Make the folder of all datasets, and see that files can be made in it.

    Raises: UsageError: they cannot.
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
    """Tell whether this very dataset stands there already.

    Raises: UsageError: something else does.
    """
    if not storage.exists(place.target):
        return False
    found = read_committed(place.target)
    if found is None and place.is_remote and read_plan_id(place) is not None:
        return False  # shards that wait for their mark
    if found is None:
        raise UsageError(
            f"--output: {place.target} exists and is no finished dataset; {_REMEDY}"
        )
    if found != plan_id:
        raise UsageError(f"--output: {place.target} holds another dataset; {_REMEDY}")
    if place.is_remote and read_plan_id(place) == plan_id:
        commit.remove_work(place.work)  # a run was stopped behind its mark
    return True


def read_committed(directory: str) -> str | None:
    """Return the plan id of a dataset that has its commit mark."""
    try:
        storage.read(f"{directory}/{paths.COMPLETE}")
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        return recipe["plan_id"]
    except (ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # it may well be there
            raise
        return None


def read_plan_id(place: Place) -> str | None:
    """Return the id of the plan whose dataset is being made; None if there is none."""
    try:
        return storage.read(f"{place.work}/{paths.PLAN_ID}").decode()
    except FileNotFoundError:
        return None


def write_plan(
    place: Place,
    plan_folder: str,
    *,
    scratch: str,
    groups_csv: bytes,
    recipe: Mapping[str, Any],
    statistics: Mapping[str, Any],
    page: Page,
) -> str:
    """Write what --plan_only promises: everything that is decided, no image.

    A folder appears in one step, so that two runs leave no mixture.
    """
    root = place.plan_only if place.is_remote else f"{scratch}/plan_only"
    files = {
        "groups.csv": groups_csv,
        "recipe.json": to_json(recipe),
        "statistics.json": to_json(statistics),
    }
    for path, data in files.items():
        storage.write(root, path, data)
    write_page(root, "plan.html", page)
    dataset_plan.merge_parts(plan_folder, f"{root}/images.parquet")
    if not place.is_remote:
        make_folder(place.folder)
        storage.remove_folder(place.plan_only)
        storage.rename_folder(root, place.plan_only)
    return place.plan_only


def acquire_output(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> AbstractContextManager[bool]:
    """Make the place to work in, or go on in it; hold it while the block runs.

    What lies there is looked at only when nobody else can change it.

    Yields: Whether there is work: not if another run has finished it meanwhile.
    Raises: UsageError: an unfinished dataset lies there, or is being worked at.
    """
    hold = _acquire_in_bucket if place.is_remote else _acquire_folder
    return hold(place, plan_id, plan_folder, resume=resume)


@contextmanager
def _acquire_folder(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    descriptor = _lock_folder(place)
    try:
        make_folder(place.work)  # it may be another user's
        if storage.exists(place.target):
            with suppress(OSError):  # made for the lock: another took its place
                Path(place.work).rmdir()
            yield not is_finished(place, plan_id)
            return
        _check_unfinished(place, plan_id, resume=resume)
        # First: a run that is stopped hereafter can be resumed.
        storage.write(place.work, paths.PLAN_ID, plan_id.encode())
        # Sidecars of an earlier run may tell of failures that are mended now.
        storage.remove_file(f"{place.work}/{paths.COMPLETE}")
        storage.remove_folder(f"{place.work}/plan")
        Path(plan_folder).rename(f"{place.work}/plan")
        yield True
    finally:
        os.close(descriptor)


def _lock_folder(place: Place) -> int:
    """Lock the place to work in, which may be renamed while it is waited for."""
    if storage.exists(place.work) and not storage.is_folder(place.work):
        raise UsageError(f"--output: {place.work} is in the way; remove it")
    while True:
        storage.make_folder(place.work)
        with suppress(FileNotFoundError):
            descriptor = os.open(place.work, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), Path(place.work).stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise _at_work(place) from None
            except FileNotFoundError:
                pass
            os.close(descriptor)


def _at_work(place: Place) -> UsageError:
    return UsageError(
        f"--output: another run is at work in {place.work}; wait for it, or give "
        "another --name"
    )


@contextmanager
def _acquire_in_bucket(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    """Claim a place by its plan's id, which only one of several can create.

    Two that go on with one plan at once write the same bytes to the same names.
    """
    _check_unfinished(place, plan_id, resume=resume)
    try:
        is_new = storage.create(place.work, paths.PLAN_ID, plan_id.encode())
    except OSError as error:
        raise cannot_write(place.output, error) from error
    if not is_new and read_plan_id(place) != plan_id:
        raise _at_work(place)
    if read_committed(place.target):  # by a run that ended before the claim
        commit.remove_work(place.work)
        yield not is_finished(place, plan_id)
        return
    if is_new:
        storage.remove_folder(f"{place.work}/parts")
    storage.copy_folder(plan_folder, f"{place.work}/plan")
    yield True


def _is_empty(place: Place) -> bool:
    """Tell whether nothing lies there but what a worker that was lost wrote late.

    Or, in a folder, what was to become the plan's id.
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
    found = read_plan_id(place) or read_committed(place.root)
    if found is None and _is_empty(place):
        return  # stopped before it had begun
    if found != plan_id:
        raise UsageError(
            f"--output: {place.work} is an unfinished dataset of another plan; "
            "give another --name or --dataset_version, or remove it"
        )
    if not resume:
        raise UsageError(
            f"--output: {place.work} is unfinished; give --resume to go on, or "
            "remove it to start anew"
        )
