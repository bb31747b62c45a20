"""What training reached at each learning rate → the best one's model, card and answers.

All files are made aside and then moved to their places, the card last: where it is, all
are.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.models import card, describing, loading, scoring
from transforms.models.card import ModelCard, TrainedOn
from transforms.records import ImageRef, JobError
from transforms.tables import curves, predictions_table
from transforms.training import checkpoint, model_file
from transforms.training.architectures import Model
from transforms.training.checkpoint import Reached
from transforms.training.settings import (
    CURVES,
    KEYS,
    MODEL,
    PREDICTIONS,
    RESULTS,
    TrainSettings,
)
from transforms.training.training_set import TrainingSet

_ROWS_AT_ONCE = 4096


def find_accuracy(
    outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> float:
    """Return the share of images whose likeliest output is right.

    Of equal ones the first counts; an image whose outputs are no numbers is wrong.
    """
    is_right = outputs.argmax(axis=1) == labels
    return int((is_right & np.isfinite(outputs).all(axis=1)).sum()) / len(labels)


def choose_best(reached: Sequence[Reached]) -> Reached:
    """Choose the run that ended with the highest accuracy, the first of equal ones.

    Raises: JobError: none of them ended with numbers.
    """
    finite = [run for run in reached if np.isfinite(run.outputs).all()]
    if not finite:
        raise JobError(
            f"{reached[0].rows[-1].model} diverged at every learning rate; give a "
            "smaller --learning_rate"
        )
    return max(finite, key=lambda run: run.rows[-1].validation_accuracy)


def write_curves(folder: str, reached: Sequence[Reached]) -> None:
    """Write what is known so far of all learning rates."""
    rows = [row for run in reached for row in run.rows]
    storage.write(folder, CURVES, curves.to_csv(rows))


def write_outcome(
    folder: str,
    *,
    best: Reached,
    model: Model,
    settings: TrainSettings,
    training_set: TrainingSet,
    refs: Sequence[ImageRef],
) -> None:
    """Write all results and remove what was kept between epochs.

    Args:
      folder: of the run.
      best: the run that is kept.
      model: with its weights.
      settings: of the run.
      training_set: what it was trained on.
      refs: the images that `best.outputs` are of.
    """
    aside = Path(folder, checkpoint.FOLDER, "results")
    aside.mkdir(parents=True, exist_ok=True)
    model_file.write(model, str(aside / MODEL))
    keys = pa.table({"key": training_set.train_keys})
    pq.write_table(keys, aside / KEYS, compression="zstd")
    described = ModelCard(
        model=settings.model,
        classes=training_set.classes,
        preprocessing=settings.preprocessing,
        trained_on=TrainedOn(
            subset_id=settings.subset_id,
            split=settings.train_split,
            keys_file=KEYS,
        ),
        file_sha256=loading.find_model_id(str(aside / MODEL)),
        training=settings.describe(chosen=best.rows[-1].learning_rate),
    )
    storage.write(str(aside), card.CARD, card.to_bytes(described))
    _write_predictions(aside, refs, best.outputs, training_set.train_keys)
    for name in RESULTS:
        if name != CURVES:
            (aside / name).replace(Path(folder, name))
    shutil.rmtree(Path(folder, checkpoint.FOLDER))


def _write_predictions(
    aside: Path,
    refs: Sequence[ImageRef],
    outputs: npt.NDArray[np.float32],
    train_keys: pa.Array,
) -> None:
    """Write what the model says of the images, as `predict` would."""
    asked = describing.describe_model(str(aside / MODEL), str(aside / card.CARD), None)
    seen = pc.is_in(pa.array([ref.key for ref in refs]), value_set=train_keys)
    parts = []
    for start in range(0, len(refs), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        own = refs[rows]
        scores, _ = scoring.score(
            scoring.to_probabilities(outputs[rows], asked.card.output),
            [asked.right[ref.wnid] for ref in own],
            keep_probabilities=True,
        )
        table = predictions_table.make_table(
            scores,
            model=asked.scored,
            keys=[ref.key for ref in own],
            splits=[ref.split for ref in own],
            wnids=[ref.wnid for ref in own],
            seen=seen[rows].to_pylist(),
        )
        parts.append(str(aside / f"part_{start}.parquet"))
        predictions_table.write_part(table, parts[-1])
    predictions_table.merge_parts(parts, str(aside / PREDICTIONS), [asked.scored])
