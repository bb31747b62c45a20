"""Where a dataset is made and appears, and what may already lie there."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transforms import commit, plan, storage
from transforms.datasets import to_json
from transforms.records import UsageError


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
    remedy = "give another --name or --dataset_version, or remove it"
    try:
        recipe = json.loads(storage.read(f"{place.target}/{commit.RECIPE}"))
        found = recipe["plan_id"]
        storage.read(f"{place.target}/{commit.COMPLETE}")
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"--output: {place.target} exists and is no finished dataset; {remedy}"
        ) from None
    if found != plan_id:
        raise UsageError(f"--output: {place.target} holds another dataset; {remedy}")
    return True


def prepare(place: Place, plan_id: str, plan_folder: str, *, resume: bool) -> None:
    """Make the partial directory, or go on in it.

    Raises: UsageError: an unfinished dataset lies there.
    """
    mark = Path(place.partial, "plan_id")
    if storage.exists(place.partial):
        found = mark.read_text() if mark.exists() else None
        if found is not None and found != plan_id:
            raise UsageError(
                f"--output: {place.partial} is an unfinished dataset of another plan; "
                "give another --name or --dataset_version, or remove it"
            )
        if found is not None and not resume:
            raise UsageError(
                f"--output: {place.partial} is unfinished; give --resume to go on, or "
                "remove it to start anew"
            )
        if found is None:  # killed before it had begun
            storage.remove_folder(place.partial)
    Path(place.partial).mkdir(parents=True, exist_ok=True)
    storage.remove_folder(f"{place.partial}/plan")
    Path(plan_folder).rename(f"{place.partial}/plan")
    storage.write(place.partial, "plan_id", plan_id.encode())


def write_plan(
    place: Place,
    plan_folder: str,
    *,
    groups_csv: bytes,
    recipe: Mapping[str, Any],
    statistics: Mapping[str, Any],
) -> str:
    """Write what --plan_only promises: everything that is decided, no image."""
    storage.remove_folder(place.plan_only)
    files = {
        "groups.csv": groups_csv,
        "recipe.json": to_json(recipe),
        "statistics.json": to_json(statistics),
    }
    for path, data in files.items():
        storage.write(place.plan_only, path, data)
    plan.merge_parts(plan_folder, f"{place.plan_only}/images.parquet")
    return place.plan_only
