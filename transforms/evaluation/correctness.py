"""Read which images models classify correctly from their prediction files.

`SetCorrectness` keeps this for all models of a set in a small file, so that a study can
be analysed without the models and their predictions.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import npz, storage
from transforms.arrays import BoolArray, FloatArray, IntegerArray
from transforms.predictions import table as predictions_table
from transforms.records import UsageError

PREDICTIONS = "predictions.parquet"  # beside the curves of a run
MAX_DIFFERENCE = 0.001  # between the accuracies of a curve and of its predictions
_COLUMNS = ["key", "wnid", "top5"]
_ARRAYS = ("models", "keys", "labels", "correct")
_MAX_BYTES = 1 << 28


class RunCorrectness(NamedTuple):
    """The correctness of one model on the validation images of a set.

    Attributes:
      keys: keys of the images, sorted.
      labels: shape (images,), the true label of each image; -1 if the model has none.
      correct: shape (images,), whether the most probable label is the true one.
      subset_id: id of the set that the model was trained on; "" if unknown.
    """

    keys: tuple[str, ...]
    labels: IntegerArray
    correct: BoolArray
    subset_id: str


class SetCorrectness(NamedTuple):
    """The correctness of all models on the validation images of a set.

    Attributes:
      models: names of the models.
      keys: shape (images,), keys of the images, sorted.
      labels: shape (images,), the true label of each image.
      correct: shape (models, images), whether each image is classified correctly.
    """

    models: tuple[str, ...]
    keys: npt.NDArray[np.str_]
    labels: IntegerArray
    correct: BoolArray

    def balance(self) -> FloatArray:
        """Average each model's accuracy over labels with equal weight, (models,)."""
        _, members, sizes = np.unique(
            self.labels, return_inverse=True, return_counts=True
        )
        weights = 1 / (len(sizes) * sizes[members])
        accuracies: FloatArray = np.round(self.correct @ weights, 12)
        return accuracies

    def measure_on(self, keys: Collection[str]) -> FloatArray | None:
        """Return each model's accuracy on some images, (models,); None without any."""
        counted = np.isin(self.keys, list(keys))
        if not counted.any():
            return None
        accuracies: FloatArray = self.correct[:, counted].mean(axis=1)
        return accuracies


def read_run(path: str) -> RunCorrectness:
    """Read the correctness of one model from its prediction file.

    Raises:
      UsageError: the file is damaged, or contains several models, or repeated keys.
    """
    models = predictions_table.read_models(path)
    if len(models) != 1:
        raise UsageError(f"contains {len(models)} models")
    label_of = {w: n for n, c in enumerate(models[0].classes) for w in c.wnids}
    keys: list[str] = []
    labels: list[int] = []
    first: list[npt.NDArray[np.int64]] = []
    try:
        for batch in storage.open_parquet(path).iter_batches(columns=_COLUMNS):
            keys += batch["key"].to_pylist()
            labels += [label_of.get(wnid, -1) for wnid in batch["wnid"].to_pylist()]
            answers = pc.list_element(batch["top5"], 0)
            first.append(answers.to_numpy(zero_copy_only=False))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"is damaged ({error!s:.100})") from None
    if len(set(keys)) < len(keys) or None in keys:
        raise UsageError("has repeated or missing keys")
    order = sorted(range(len(keys)), key=keys.__getitem__)
    truth = np.array(labels, np.int64)
    return RunCorrectness(
        tuple(keys[number] for number in order),
        truth[order],
        np.asarray(np.concatenate([*first, truth[:0]]) == truth)[order],
        models[0].trained_on_subset_id,
    )


def read_set(paths: Sequence[str], models: Sequence[str]) -> SetCorrectness:
    """Read the prediction files of all models of a set.

    Args:
      paths: one file per model.
      models: names of the models.

    Raises:
      UsageError: a file is unusable, or has other images than the first one.
    """
    runs = []
    for path in paths:
        try:
            runs.append(read_run(path))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        if runs[-1].keys != runs[0].keys:
            raise UsageError(f"{path}: has other images than {paths[0]}")
    return SetCorrectness(
        tuple(models),
        np.array(runs[0].keys),
        runs[0].labels,
        np.stack([run.correct for run in runs]),
    )


def to_npz(correctness: SetCorrectness) -> bytes:
    """Serialise to .npz; equal inputs give equal bytes."""
    return npz.to_npz_bytes({
        "models": np.array(correctness.models),
        "keys": correctness.keys,
        "labels": correctness.labels.astype(np.int16),
        "correct": np.packbits(correctness.correct, axis=1),
    })


def from_npz(data: bytes) -> SetCorrectness:
    """Parse what `to_npz` wrote.

    Raises:
      ValueError: the file is invalid.
    """
    arrays = npz.read_npz(data, _ARRAYS, max_bytes=_MAX_BYTES)
    keys = arrays["keys"]
    correct = np.unpackbits(arrays["correct"], axis=1, count=len(keys)).astype(bool)
    return SetCorrectness(
        tuple(arrays["models"].tolist()), keys, arrays["labels"].astype(int), correct
    )
