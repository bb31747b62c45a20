"""Describe how to rebuild a subset: recipe.json and the build command."""

import dataclasses
import hashlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipelines.building.options import BuildOptions
from transforms import __version__, formats, storage
from transforms.dataset import paths
from transforms.grouping.table import Grouping, GroupTable
from transforms.images.settings import ImageSettings, describe_libraries
from transforms.index.inventory import Inventory

# Flags that decide the subset or its bytes; other flags decide how the job runs.
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

_COMMAND_FLAGS = {
    *_RECIPE_FLAGS,
    *("num_groups", "confusion", "difficulty", "max_missing"),
    *(field.name for field in dataclasses.fields(ImageSettings)),
} - {"preset"}


def make_recipe(
    options: BuildOptions,
    *,
    grouping_options: Any,
    sampling_options: Any,
    result: Grouping,
    sampling_notes: Sequence[str],
    table: GroupTable,
    inventory: Inventory,
    subset_id: str,
) -> dict[str, Any]:
    """Return the contents of recipe.json, which suffice to rebuild the subset.

    Args:
      options: the job's options, with the dataset's name.
      grouping_options: the options of the grouping method.
      sampling_options: the options of the sampler.
      result: the result of the grouping method.
      sampling_notes: the sampler's messages.
      table: the table of groups.
      inventory: counts, fingerprint and warnings of the input.
      subset_id: hash of the image settings and the selected images.
    """
    recipe = {name: getattr(options, name) for name in _RECIPE_FLAGS}
    revisions = storage.list_revisions(inventory.roots)
    has_only_revisions = 0 < len(revisions) == len(inventory.roots)
    return recipe | {
        "num_groups": table.num_groups,
        "grouping_options": _describe(grouping_options),
        "grouping_notes": list(result.notes),
        "grouping_quality": result.quality,
        "groups_sha256": table.sha256,
        "sampling_options": _describe(sampling_options),
        "sampling_notes": list(sampling_notes),
        "difficulty_sha256": _hash_file(options.difficulty),
        **({"image_list_sha256": _hash_file(options.images)} if options.images else {}),
        "images": options.image_settings.describe(),
        "input_fingerprint": inventory.fingerprint,
        **({"input_revisions": revisions} if revisions else {}),
        "input_warnings": [warning.text for warning in inventory.warnings],
        "subset_id": subset_id,
        "command": format_command(
            options,
            grouping_options=grouping_options,
            sampling_options=sampling_options,
            **({"inputs": revisions} if has_only_revisions else {}),
        ),
        "versions": {
            "imagenet-subsets": __version__,
            "pyarrow": pa.__version__,
            **describe_libraries(),
            **formats.describe_libraries(options.formats),
        },
    }


def format_command(
    options: BuildOptions,
    *,
    grouping_options: Any,
    sampling_options: Any,
    inputs: Sequence[str] = ("PATH_TO_IMAGENET",),
) -> str:
    """Return the command that rebuilds the dataset, with placeholders for paths.

    Args:
      options: the job's options, with the dataset's name.
      grouping_options: the options of the grouping method.
      sampling_options: the options of the sampler.
      inputs: the values of --input.
    """
    default = BuildOptions(preset=options.preset).expand_preset()
    names = [f.name for f in dataclasses.fields(options) if f.name in _COMMAND_FLAGS]
    table = f"PATH/TO/{options.name}/{options.dataset_version}/{paths.GROUPS}"
    words = [
        *("python", "-m", "pipelines.build"),
        *(word for path in inputs for word in ("--input", path)),
        *(["--preset", options.preset] if options.preset else []),
        # The dataset's groups.csv replaces the table that --groups named.
        *(["--groups", table] if options.groups else []),
        *(["--images", "PATH_TO_IMAGE_LIST"] if options.images else []),
        *_list_flags(options, default, names=names),
    ]
    for method, chosen in (
        (options.grouping, grouping_options),
        (options.sampling, sampling_options),
    ):
        own = [f.name for f in dataclasses.fields(chosen)]
        words += _list_flags(chosen, type(chosen)(), names=own, prefix=f"{method}_")
    return shlex.join(words)


def _list_flags(
    options: Any,
    default: Any,
    *,
    names: Sequence[str],
    prefix: str = "",
) -> Iterator[str]:
    """Yield command-line arguments for the options that differ from their defaults."""
    fields = {field.name: field for field in dataclasses.fields(options)}
    for name in names:
        value = getattr(options, name)
        if value == getattr(default, name):
            continue
        yield f"--{prefix}{name}"
        if fields[name].metadata["metavar"] == "FILE":
            yield f"PATH_TO_{name.upper()}"
        elif isinstance(value, tuple):
            split = fields[name].metadata["split"]
            yield from [split.join(map(str, value))] if split else map(str, value)
        elif value is not True:
            yield str(value).lower() if isinstance(value, bool) else str(value)


def _describe(method_options: object) -> dict[str, Any]:
    """Return the options of a method, with file paths replaced by content hashes."""
    described = dict(vars(method_options))
    for name, value in described.items():
        if isinstance(value, str) and storage.exists(value):
            described[name] = _hash_file(value)
    return described


def _hash_file(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(storage.read(path)).hexdigest()
