"""Where a dataset is made and appears, and what may already lie there."""

import dataclasses
import errno
import json
import tempfile
from collections.abc import Mapping
from typing import Any

from pipelines.outputs import cannot_write
from transforms import commit, paths, storage
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
    page: bytes,
) -> str:
    """Write what --plan_only promises: everything that is decided, no image.

    A folder appears in one step, so that two runs leave no mixture.
    """
    root = place.plan_only if place.is_remote else f"{scratch}/plan_only"
    files = {
        "groups.csv": groups_csv,
        "recipe.json": to_json(recipe),
        "statistics.json": to_json(statistics),
        "plan.html": page,
    }
    for path, data in files.items():
        storage.write(root, path, data)
    plan.merge_parts(plan_folder, f"{root}/images.parquet")
    if not place.is_remote:
        make_folder(place.folder)
        storage.remove_folder(place.plan_only)
        storage.rename_folder(root, place.plan_only)
    return place.plan_only
