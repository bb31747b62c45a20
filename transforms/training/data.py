"""Read the training data of a finished dataset, and copy remote data to local disk."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from transforms import formats, storage
from transforms.dataset import manifest, paths
from transforms.dataset import plan as dataset_plan
from transforms.models import image_source
from transforms.models.image_source import ImageSource
from transforms.predictions.table import ModelClass
from transforms.records import UsageError
from transforms.storage import staging
from transforms.training import checkpoint

CLASSES = "classes.json"
FORMAT = "tfrecord"  # the only format that training reads
_MIN_CLASSES = 2
_VERIFY = "check it with python -m pipelines.verify"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """The training split and the validation split of a dataset.

    Attributes:
      name: name of the dataset.
      subset_id: hash of the images and labels of the dataset.
      classes: classes or groups in label order.
      shards: paths of the TFRecord files of the training split, sorted.
      train_keys: keys of the training images, sorted.
      validation: the validation images.
    """

    name: str
    subset_id: str
    classes: tuple[ModelClass, ...]
    shards: tuple[str, ...]
    train_keys: pa.Array
    validation: ImageSource


def read_training_set(
    directory: str, *, train_split: str, validation_split: str
) -> TrainingSet:
    """Read the training and validation splits of a dataset.

    Raises:
      UsageError: the dataset is unfinished, damaged or unsuitable, or a split is
        invalid; one line per problem.
    """
    if not storage.exists(f"{directory}/{paths.COMPLETE}"):
        raise UsageError(f"--dataset {directory}: {_describe_missing(directory)}")
    try:
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        name, subset_id = str(recipe["name"]), str(recipe["subset_id"])
        written = ", ".join(recipe["formats"])
        classes = _read_classes(directory)
        rows = _read_rows(directory)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(
            f"--dataset {directory}: is damaged ({type(error).__name__}: {error}); "
            f"{_VERIFY}"
        ) from error
    problems = list(_find_split_problems(rows, train_split, validation_split))
    if FORMAT not in recipe["formats"]:
        problems.append(
            f"--dataset {directory}: holds {written}, but training reads {FORMAT}; "
            f"build it again with --formats {FORMAT}"
        )
    if len(classes) < _MIN_CLASSES:
        problems.append(
            f"--dataset {directory}: has {len(classes)} classes; training needs "
            f"{_MIN_CLASSES} or more"
        )
    if problems:
        raise UsageError("\n".join(problems))
    train = rows.filter(pc.equal(rows["split"], train_split)).sort_by("key")
    return TrainingSet(
        name=name,
        subset_id=subset_id,
        classes=classes,
        shards=_find_shards(directory, train_split),
        train_keys=train["key"].combine_chunks(),
        validation=image_source.read_dataset(directory, validation_split),
    )


def _describe_missing(directory: str) -> str:
    if not storage.is_folder(directory):
        return paths.describe_missing(directory)
    datasets = sorted(
        path.parent.parent.relative_to(directory).as_posix()
        for depth in ("*", "*/*")
        for path in Path(directory).glob(f"{depth}/{paths.COMPLETE}")
    )
    if datasets:
        return f"contains datasets; give one of them: {', '.join(datasets)}"
    return dataset_plan.describe_unfinished(directory)


def _read_classes(directory: str) -> tuple[ModelClass, ...]:
    items = json.loads(storage.read(f"{directory}/{CLASSES}"))
    items = sorted(items, key=lambda item: item["label"])
    if [item["label"] for item in items] != list(range(len(items))):
        raise ValueError(f"{CLASSES} skips a label")
    return tuple(ModelClass(item["name"], tuple(item["wnids"])) for item in items)


def _read_rows(directory: str) -> pa.Table:
    columns = ["key", "split"]
    rows = storage.read_parquet(f"{directory}/{paths.MANIFEST}", columns)
    rows = rows.cast(pa.schema([manifest.SCHEMA.field(name) for name in columns]))
    if any(column.null_count for column in rows.columns):
        raise ValueError("its manifest lacks keys or splits")
    return rows


def _find_split_problems(
    rows: pa.Table, train_split: str, validation_split: str
) -> Iterator[str]:
    counts = pc.value_counts(rows["split"].combine_chunks()).to_pylist()
    num_images = {c["values"]: c["counts"] for c in counts}
    shown = ", ".join(
        f"{name} ({num_images[name]} images)" for name in sorted(num_images)
    )
    splits = {"train_split": train_split, "validation_split": validation_split}
    for flag, split in splits.items():
        if split not in num_images:
            yield f"--{flag} {split}: the dataset has no such split; it has {shown}"
    if train_split == validation_split:
        yield (
            f"--validation_split {validation_split}: is the training split; give "
            "another split"
        )


def _find_shards(directory: str, split: str) -> tuple[str, ...]:
    find_split = formats.load(FORMAT).find_split
    paths_of_split = (
        p for p in storage.list_files(directory) if find_split(p) == split
    )
    return tuple(sorted(f"{directory}/{path}" for path in paths_of_split))


@contextmanager
def stage_dataset(directory: str, validation_split: str) -> Iterator[str]:
    """Copy the files that training needs from a remote dataset to a local folder.

    Yields:
      The local folder; for a local dataset, `directory` itself without copying.

    Raises:
      UsageError: the local disk is too small.
    """
    manifest_format = ""
    if storage.is_remote(directory):
        sys.stderr.write(f"copying the dataset from {directory}\n")
        manifest_format = _find_manifest_format(directory)

    def is_needed(path: str) -> bool:
        for name in formats.FORMATS:
            if (split := formats.load(name).find_split(path)) is not None:
                is_validation = name == manifest_format and split == validation_split
                return name == FORMAT or is_validation
        return True

    with staging.stage_folder(directory, wanted=is_needed) as folder:
        yield folder


def _find_manifest_format(directory: str) -> str:
    """Return the format whose files the manifest refers to; "" if unknown."""
    try:
        return str(
            json.loads(storage.read(f"{directory}/{paths.RECIPE}"))["formats"][0]
        )
    except (OSError, ValueError, LookupError, TypeError):
        return ""  # `read_training_set` reports what is wrong


@contextmanager
def stage_models(output: str, names: Sequence[str]) -> Iterator[str]:
    """Copy the folders of some models from a remote output to a local folder.

    Yields:
      The local folder; for a local output, `output` itself without copying.

    Raises:
      UsageError: the local disk is too small.
    """

    def is_of_models(path: str) -> bool:
        return path.split("/", 1)[0] in names

    with staging.stage_folder(output, wanted=is_of_models) as folder:
        yield folder


def copy_results_back(folder: str, *, output: str, target: str) -> None:
    """Copy a model's folder to a remote output; do nothing if the output is local.

    Args:
      folder: local folder of the model, inside `output`.
      output: local folder that `stage_models` yielded.
      target: output folder that the user gave, local or remote.
    """
    if not storage.is_remote(target):
        return
    remote = f"{target}{folder.removeprefix(output)}"
    storage.copy_folder(folder, remote)
    if not storage.exists(f"{folder}/{checkpoint.FOLDER}"):
        storage.remove_folder(f"{remote}/{checkpoint.FOLDER}")
