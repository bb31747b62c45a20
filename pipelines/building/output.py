"""Where a dataset is made and appears, and what may already lie there."""

import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transforms import paths, storage
from transforms.datasets import to_json
from transforms.records import UsageError
from transforms.tables import plan

_REMEDY = "give another --name or --dataset_version, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The directories of one dataset."""

    output: str
    name: str
    version: str

    @property
    def target(self) -> str:
        """The finished dataset."""
        return str(Path(self.output).absolute() / self.name / self.version)

    @property
    def partial(self) -> str:
        """The dataset while it is made; no reader looks at a hidden directory."""
        return str(Path(self.target).with_name(f".{self.version}.partial"))

    @property
    def plan_only(self) -> str:
        """What --plan_only writes."""
        return f"{self.target}.plan"


def make_folder(path: str) -> None:
    """Make the folder of all datasets, and see that files can be made in it.

    Raises: UsageError: they cannot.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(
            f"--output {path}: nothing can be written there ({error.strerror}); name "
            "another place"
        ) from error


def is_finished(place: Place, plan_id: str) -> bool:
    """Tell whether this very dataset stands there already.

    Raises: UsageError: something else does.
    """
    if not storage.exists(place.target):
        return False
    found = read_committed(place.target)
    if found is None:
        raise UsageError(
            f"--output: {place.target} exists and is no finished dataset; {_REMEDY}"
        )
    if found != plan_id:
        raise UsageError(f"--output: {place.target} holds another dataset; {_REMEDY}")
    return True


def read_committed(directory: str) -> str | None:
    """Return the plan id of a dataset that has its commit mark."""
    try:
        storage.read(f"{directory}/{paths.COMPLETE}")
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        return recipe["plan_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def prepare(
    place: Place, plan_id: str, plan_folder: str, *, resume: bool
) -> Iterator[None]:
    """Make the partial directory, or go on in it; hold it while the block runs.

    Raises: UsageError: an unfinished dataset lies there, or is being worked at.
    """
    _check_unfinished(place, plan_id, resume=resume)
    Path(place.partial).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place.partial, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"--output: another run is at work in {place.partial}; wait for it, or "
            "give another --name"
        ) from None
    try:
        # Sidecars of an earlier run may tell of failures that are mended now.
        Path(place.partial, paths.COMPLETE).unlink(missing_ok=True)
        storage.remove_folder(f"{place.partial}/plan")
        Path(plan_folder).rename(f"{place.partial}/plan")
        storage.write(place.partial, paths.PLAN_ID, plan_id.encode())
        yield
    finally:
        os.close(descriptor)


def _check_unfinished(place: Place, plan_id: str, *, resume: bool) -> None:
    if not storage.exists(place.partial):
        return
    if not storage.is_folder(place.partial):
        raise UsageError(f"--output: {place.partial} is in the way; remove it")
    try:
        found: str | None = storage.read(f"{place.partial}/{paths.PLAN_ID}").decode()
    except FileNotFoundError:
        found = read_committed(place.partial)
    if found is None and not any(Path(place.partial).iterdir()):
        return  # stopped before it had begun
    if found != plan_id:
        raise UsageError(
            f"--output: {place.partial} is an unfinished dataset of another plan; "
            "give another --name or --dataset_version, or remove it"
        )
    if not resume:
        raise UsageError(
            f"--output: {place.partial} is unfinished; give --resume to go on, or "
            "remove it to start anew"
        )


def write_plan(
    place: Place,
    plan_folder: str,
    *,
    groups_csv: bytes,
    recipe: Mapping[str, Any],
    statistics: Mapping[str, Any],
    page: bytes,
) -> str:
    """Write what --plan_only promises: everything that is decided, no image."""
    storage.remove_folder(place.plan_only)
    make_folder(str(Path(place.target).parent))
    files = {
        "groups.csv": groups_csv,
        "recipe.json": to_json(recipe),
        "statistics.json": to_json(statistics),
        "plan.html": page,
    }
    for path, data in files.items():
        storage.write(place.plan_only, path, data)
    plan.merge_parts(plan_folder, f"{place.plan_only}/images.parquet")
    return place.plan_only
