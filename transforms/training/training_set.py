"""The directory of a finished dataset → all that training needs to know of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import paths, storage
from transforms.models import image_list
from transforms.models.card import ModelClass
from transforms.models.image_list import ImageSource
from transforms.records import UsageError
from transforms.tables import manifest

CLASSES = "classes.json"
_FORMAT = "tfrecord"
_MIN_CLASSES = 2
_VERIFY = "see what is wrong with python -m pipelines.verify"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """One split to train on, and one to validate on.

    Attributes:
      name: of the dataset.
      subset_id: of the dataset.
      classes: of its labels, in their order.
      shards: paths of the TFRecord files to train on, sorted.
      train_keys: of the images to train on, sorted.
      train_sizes: shape (images, 2), their widths and heights.
      validation: the images to validate on.
    """

    name: str
    subset_id: str
    classes: tuple[ModelClass, ...]
    shards: tuple[str, ...]
    train_keys: pa.Array
    train_sizes: npt.NDArray[np.int64]
    validation: ImageSource


def read_training_set(
    directory: str, *, train_split: str, validation_split: str
) -> TrainingSet:
    """Read what a dataset holds.

    Raises: UsageError: all that is wrong with it, or with the splits.
    """
    if not storage.exists(f"{directory}/{paths.COMPLETE}"):
        raise UsageError(f"--dataset {directory}: {_describe_missing(directory)}")
    try:
        recipe = json.loads(storage.read(f"{directory}/{paths.RECIPE}"))
        name, subset_id = str(recipe["name"]), str(recipe["subset_id"])
        formats = ", ".join(recipe["formats"])
        classes = _read_classes(directory)
        rows = _read_rows(directory)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(
            f"--dataset {directory}: is damaged ({type(error).__name__}: {error}); "
            f"{_VERIFY}"
        ) from error
    problems = list(_find_split_problems(rows, train_split, validation_split))
    if _FORMAT not in recipe["formats"]:
        problems.append(
            f"--dataset {directory}: holds {formats}, and training reads {_FORMAT}; "
            f"build it again with --formats {_FORMAT}"
        )
    if len(classes) < _MIN_CLASSES:
        problems.append(f"--dataset {directory}: holds one class; nothing is learned")
    if problems:
        raise UsageError("\n".join(problems))
    train = rows.filter(pc.equal(rows["split"], train_split)).sort_by("key")
    return TrainingSet(
        name=name,
        subset_id=subset_id,
        classes=classes,
        shards=_find_shards(directory, train_split),
        train_keys=train["key"].combine_chunks(),
        train_sizes=np.column_stack([train["width"], train["height"]]).astype(np.int64),
        validation=image_list.read_dataset(directory, validation_split),
    )


def _describe_missing(directory: str) -> str:
    if not storage.is_folder(directory):
        return "no such folder; make one with python -m pipelines.build"
    inside = sorted(
        path.parent.parent.relative_to(directory).as_posix()
        for depth in ("*", "*/*")
        for path in Path(directory).glob(f"{depth}/{paths.COMPLETE}")
    )
    if inside:
        return f"is no dataset, but holds some; name one of them: {', '.join(inside)}"
    return (
        f"is no finished dataset (no {paths.COMPLETE}); finish it with "
        "python -m pipelines.build --resume"
    )


def _read_classes(directory: str) -> tuple[ModelClass, ...]:
    found = json.loads(storage.read(f"{directory}/{CLASSES}"))
    listed = sorted(found, key=lambda item: item["label"])
    if [item["label"] for item in listed] != list(range(len(listed))):
        raise ValueError(f"{CLASSES} skips a label")
    return tuple(ModelClass(item["name"], tuple(item["wnids"])) for item in listed)


def _read_rows(directory: str) -> pa.Table:
    columns = ["key", "split", "width", "height"]
    rows = pq.read_table(f"{directory}/{paths.MANIFEST}", columns=columns)
    rows = rows.cast(pa.schema([manifest.SCHEMA.field(name) for name in columns]))
    smallest = min(
        (pc.min(rows[side]).as_py() or 0 for side in ("width", "height")), default=0
    )
    if smallest < 1 or any(column.null_count for column in rows.columns):
        raise ValueError("its manifest has sizes that cannot be")
    return rows


def _find_split_problems(
    rows: pa.Table, train_split: str, validation_split: str
) -> Iterator[str]:
    counts = pc.value_counts(rows["split"].combine_chunks()).to_pylist()
    held = {c["values"]: c["counts"] for c in counts}
    shown = ", ".join(f"{name} ({held[name]} images)" for name in sorted(held))
    given = {"train_split": train_split, "validation_split": validation_split}
    for flag, split in given.items():
        if split not in held:
            yield f"--{flag} {split}: there are no such images, but {shown}"
    if train_split == validation_split:
        yield (
            f"--validation_split {validation_split}: is what is trained on; name "
            "another split"
        )


def _find_shards(directory: str, split: str) -> tuple[str, ...]:
    folder = Path(directory, "__tfds__")
    return tuple(sorted(map(str, folder.glob(f"*-{split}.tfrecord-*"))))
