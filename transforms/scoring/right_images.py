"""Predictions beside curves → on which validation images each model is right.

They are what `pipelines.train` writes: of one model, of the classes or groups that it
was trained on. They let pairs of models be told apart by McNemar's test.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.records import UsageError
from transforms.scoring.coarse import BoolArray
from transforms.scoring.curves import CurveSet, Run, find_folder, folder_runs
from transforms.scoring.ranking import FloatArray
from transforms.tables import predictions_table

_PREDICTIONS = "predictions.parquet"
_COLUMNS = ["key", "wnid", "top5"]
_MAX_DIFFERENCE = 0.001  # of accuracies that should be the same
_SHOWN = 3


class RightImages(NamedTuple):
    """What is known of single images.

    Attributes:
      shares: shape (models, images), the share of a model's seeds that are right; None
        when it is not known of all runs.
      notes: why it is not.
    """

    shares: FloatArray | None
    notes: tuple[str, ...] = ()


class _Answers(NamedTuple):
    keys: tuple[str, ...]  # sorted
    correct: BoolArray
    subset_id: str


def find_right_images(curve_set: CurveSet) -> RightImages:
    """Read the predictions that lie beside the curves of a set's best runs."""
    alone = {
        folder
        for folder, runs in folder_runs(curve_set).items()
        if len({(run.model, run.seed) for run in runs}) == 1
    }
    shares: list[FloatArray] = []
    keys: tuple[str, ...] | None = None
    lacking: list[str] = []
    problems: list[str] = []
    num_runs = 0
    for model in curve_set.models:
        rows = []
        for run in curve_set.best_runs(model):
            num_runs += 1
            folder = find_folder(run.path)
            path = f"{folder}/{_PREDICTIONS}"
            if folder not in alone or not storage.exists(path):
                lacking.append(f"{run.model}, seed {run.seed}")
                continue
            try:
                answers = _read(path, curve_set.validation_images)
                _check(answers, run, curve_set, keys)
            except UsageError as error:
                problems.append(f"{path}: {error}")
                continue
            keys = answers.keys
            rows.append(answers.correct)
        if rows:
            shares.append(np.mean(rows, axis=0))
    if not lacking and not problems:
        return RightImages(np.stack(shares))
    return RightImages(None, tuple(_tell(curve_set, num_runs, lacking, problems)))


def _tell(
    curve_set: CurveSet, num_runs: int, lacking: list[str], problems: list[str]
) -> list[str]:
    """Say why pairs are not paired; nothing when no run has predictions."""
    notes = [f"{text}; so pairs are not paired" for text in problems[:_SHOWN]]
    if 0 < len(lacking) < num_runs:
        notes.append(
            f"{curve_set.name}: no {_PREDICTIONS} lies beside the curves of "
            f"{'; '.join(lacking[:_SHOWN])}"
            f"{f' and {len(lacking) - _SHOWN} more' if len(lacking) > _SHOWN else ''}, "
            "so that pairs are compared by their accuracies alone"
        )
    return notes


def _read(path: str, num_images: int) -> _Answers:
    """Read which images are right.

    Raises: UsageError: it does not fit the curves, or is no such file.
    """
    models = predictions_table.read_models(path)
    if len(models) != 1:
        raise UsageError(f"holds {len(models)} models")
    label_of = {w: n for n, c in enumerate(models[0].classes) for w in c.wnids}
    keys: list[str] = []
    correct: list[BoolArray] = []
    try:
        file = pq.ParquetFile(storage.for_arrow(path))
        if file.metadata.num_rows != num_images:
            raise UsageError(
                f"has {file.metadata.num_rows} images, the curves {num_images}"
            )
        for batch in file.iter_batches(columns=_COLUMNS):
            keys += batch["key"].to_pylist()
            first = pc.list_element(batch["top5"], 0).to_numpy(zero_copy_only=False)
            truth = [label_of.get(wnid, -1) for wnid in batch["wnid"].to_pylist()]
            correct.append(np.asarray(first == np.array(truth)))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"is damaged ({error!s:.100})") from None
    if len(set(keys)) < len(keys) or None in keys:
        raise UsageError("has images twice, or without a key")
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return _Answers(
        tuple(keys[number] for number in order),
        np.concatenate(correct)[order],
        models[0].trained_on_subset_id,
    )


def _check(
    answers: _Answers, run: Run, curve_set: CurveSet, keys: tuple[str, ...] | None
) -> None:
    """Refuse answers of another run, or about other images than the ones before."""
    accuracy = float(answers.correct.mean())
    if abs(accuracy - run.final) > _MAX_DIFFERENCE:
        raise UsageError(
            f"{accuracy:.4f} of its images are right, where the curve ends at "
            f"{run.final:.4f}: it is of another run"
        )
    if answers.subset_id not in {"", curve_set.subset_id}:
        raise UsageError(f"is of a model trained on {answers.subset_id}")
    if keys is not None and keys != answers.keys:
        raise UsageError("is about other images than those of the models before")
