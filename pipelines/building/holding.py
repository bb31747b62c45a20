"""The place where a dataset is made, held: by a lock, in a bucket by a claim."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from pipelines.building import output
from pipelines.outputs import cannot_write
from transforms import commit, paths, storage
from transforms.records import UsageError


def prepare(
    place: output.Place, plan_id: str, plan_folder: str, *, resume: bool
) -> AbstractContextManager[bool]:
    """Make the place to work in, or go on in it; hold it while the block runs.

    What lies there is looked at only when nobody else can change it.

    Yields: Whether there is work: not if another run has finished it meanwhile.
    Raises: UsageError: an unfinished dataset lies there, or is being worked at.
    """
    hold = _hold_in_bucket if place.is_remote else _hold_folder
    return hold(place, plan_id, plan_folder, resume=resume)


@contextmanager
def _hold_folder(
    place: output.Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    descriptor = _lock_folder(place)
    try:
        output.make_folder(place.work)  # it may be another user's
        if storage.exists(place.target):
            with suppress(OSError):  # made for the lock: another took its place
                Path(place.work).rmdir()
            yield not output.is_finished(place, plan_id)
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


def _lock_folder(place: output.Place) -> int:
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


def _at_work(place: output.Place) -> UsageError:
    return UsageError(
        f"--output: another run is at work in {place.work}; wait for it, or give "
        "another --name"
    )


@contextmanager
def _hold_in_bucket(
    place: output.Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[bool]:
    """Claim a place by its plan's id, which only one of several can create.

    Two that go on with one plan at once write the same bytes to the same names.
    """
    _check_unfinished(place, plan_id, resume=resume)
    try:
        is_new = storage.create(place.work, paths.PLAN_ID, plan_id.encode())
    except OSError as error:
        raise cannot_write(place.output, error) from error
    if not is_new and output.read_plan_id(place) != plan_id:
        raise _at_work(place)
    if output.read_committed(place.target):  # by a run that ended before the claim
        commit.remove_work(place.work)
        yield not output.is_finished(place, plan_id)
        return
    if is_new:
        storage.remove_folder(f"{place.work}/parts")
    storage.copy_folder(plan_folder, f"{place.work}/plan")
    yield True


def _is_empty(place: output.Place) -> bool:
    """Tell whether nothing lies there but what a worker that was lost wrote late.

    Or, in a folder, what was to become the plan's id.
    """
    names = {entry.name for entry in storage.list_folder(place.work)}
    return all(
        (name in {"parts", "plan"} and place.is_remote)
        or name.startswith(f".{paths.PLAN_ID}.")
        for name in names
    )


def _check_unfinished(place: output.Place, plan_id: str, *, resume: bool) -> None:
    if not storage.exists(place.work):
        return
    found = output.read_plan_id(place) or output.read_committed(place.root)
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
