"""What decides a subset and its bytes → its recipe, and a hash to tell plans apart.

No path, host, time or number of threads stands in a recipe.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.building.options import BuildOptions
from transforms import __version__, storage
from transforms.images.settings import describe_libraries
from transforms.records import Shard
from transforms.tables.groups import Grouping, GroupTable

# Flags that decide the subset or its bytes; the others decide how the work is done.
_RECIPE_FLAGS = (
    "preset",
    "grouping",
    "sampling",
    "images_per_group",
    "stratify_by_class",
    "folds",
    "min_validation_images",
    "allow_small_validation",
    "seed",
    "name",
    "dataset_version",
    "formats",
    "images_per_shard",
)


def make_recipe(
    options: BuildOptions,
    *,
    grouping_options: object,
    sampling_options: object,
    result: Grouping,
    sampling_notes: Sequence[str],
    table: GroupTable,
    input_fingerprint: str,
    subset_id: str,
) -> dict[str, Any]:
    """Describe how a subset is made."""
    recipe = {name: getattr(options, name) for name in _RECIPE_FLAGS}
    return recipe | {
        "num_groups": table.num_groups,
        "grouping_options": _describe(grouping_options),
        "grouping_notes": list(result.notes),
        "grouping_quality": result.quality,
        "groups_sha256": table.sha256,
        "sampling_options": _describe(sampling_options),
        "sampling_notes": list(sampling_notes),
        "difficulty_sha256": _hash_file(options.difficulty),
        "images": options.images.describe(),
        "input_fingerprint": input_fingerprint,
        "subset_id": subset_id,
        "versions": {
            "imagenet-subsets": __version__,
            "pyarrow": pa.__version__,
            **describe_libraries(),
        },
    }


def _describe(method_options: object) -> dict[str, Any]:
    """Return a method's own options; a file stands by its content, not its path."""
    described = dict(vars(method_options))
    for name, value in described.items():
        if isinstance(value, str) and storage.exists(value):
            described[name] = _hash_file(value)
    return described


def _hash_file(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(storage.read(path)).hexdigest()


def compute_plan_id(
    recipe: Mapping[str, Any], shards: Sequence[Shard], *, sources_sha256: str
) -> str:
    """Hash all that decides the bytes of shards."""
    names = ("subset_id", "groups_sha256", "formats", "versions")
    described = [[recipe[name] for name in names], list(shards), sources_sha256]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
