"""Load validation images, choose the best run, and write its results."""

import io
import itertools
import json
import re
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.images.read import describe_place, read_image_bytes
from transforms.index import table as index_table
from transforms.models import card as model_card
from transforms.models import inference, loaders
from transforms.models import spec as model_spec
from transforms.models.card import ModelCard, Preprocessing, TrainedOn
from transforms.models.image_source import ImageSource
from transforms.predictions import table as predictions_table
from transforms.processes import num_cores
from transforms.records import DataError, ImageRef, JobError
from transforms.training import checkpoint
from transforms.training import curves as training_curves
from transforms.training.architectures import Model
from transforms.training.checkpoint import Progress
from transforms.training.data import TrainingSet
from transforms.training.settings import (
    CURVES,
    KEYS,
    MODEL,
    PREDICTIONS,
    RESULTS,
    TrainSettings,
)

_MAX_CACHED_BYTES = 1 << 30
_BATCH_IMAGES = 256
_PREDICTION_ROWS = 4096  # images scored at once
_NUM_THREADS = num_cores()
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date in zip files
_METADATA, _CONFIG = "metadata.json", "config.json"  # in a .keras file
_SHARED_ID = re.compile(rb'"shared_object_id": (\d+)')

ImageBatch: TypeAlias = npt.NDArray[np.uint8]


class ValidationImages:
    """Iterable of batches of preprocessed validation images, in the source's order.

    The batches are cached in memory if they take at most 1 GiB.
    """

    def __init__(self, source: ImageSource, settings: Preprocessing) -> None:
        self.refs = index_table.to_refs(source.table)
        self._root = source.roots[0]
        self._settings = settings
        num_bytes = len(self.refs) * settings.crop_px**2 * 3
        self._is_small = num_bytes <= _MAX_CACHED_BYTES
        self._cache: list[ImageBatch] = []

    def __iter__(self) -> Iterator[ImageBatch]:
        """Yield batches, uint8, shape (images, crop_px, crop_px, 3).

        Raises:
          JobError: an image of the dataset cannot be read or decoded.
        """
        if self._cache:
            yield from self._cache
            return
        batches = []
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(self.refs), _BATCH_IMAGES):
                refs = self.refs[start : start + _BATCH_IMAGES]
                batch = np.stack(list(pool.map(self._prepare, refs)))
                if self._is_small:
                    batches.append(batch)
                yield batch
        self._cache = batches

    def _prepare(self, ref: ImageRef) -> ImageBatch:
        try:
            data = read_image_bytes(self._root, ref)
            return inference.preprocess(data, self._settings)
        except DataError as error:
            raise JobError(
                f"{ref.key} ({describe_place(ref)}): {error}; check the dataset with "
                "python -m pipelines.verify"
            ) from error


def find_accuracy(
    outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> float:
    """Return the top-1 accuracy, 0 to 1.

    If several outputs tie for the highest, the first is the prediction. Images with NaN
    or infinite outputs count as wrong.

    Args:
      outputs: shape (images, classes).
      labels: shape (images,), the true labels.
    """
    is_correct = outputs.argmax(axis=1) == labels
    return int((is_correct & np.isfinite(outputs).all(axis=1)).sum()) / len(labels)


def choose_best(runs: Sequence[Progress]) -> Progress:
    """Choose the run with the highest final validation accuracy.

    Ties go to the first run; runs with NaN or infinite outputs are excluded.

    Raises:
      JobError: all runs diverged.
    """
    finite = [run for run in runs if np.isfinite(run.outputs).all()]
    if not finite:
        raise JobError(
            f"{runs[0].rows[-1].model} diverged at every learning rate; give a "
            "smaller --learning_rate"
        )
    return max(finite, key=lambda run: run.rows[-1].validation_accuracy)


def write_curves(folder: str, runs: Sequence[Progress]) -> None:
    """Write curves.csv with the epochs of all runs, one run per learning rate."""
    rows = [row for run in runs for row in run.rows]
    storage.write(folder, CURVES, training_curves.to_csv(rows))


def write_results(
    folder: str,
    *,
    best: Progress,
    model: Model,
    settings: TrainSettings,
    training_set: TrainingSet,
    refs: Sequence[ImageRef],
) -> None:
    """Write a model, its card, keys and predictions; then remove the checkpoints.

    Args:
      folder: output folder of the model.
      best: run with the chosen learning rate.
      model: float32 model with the weights of `best`.
      settings: training settings of the model.
      training_set: dataset that the model was trained on.
      refs: the validation images, in the order of `best.outputs`.
    """
    staging = Path(folder, checkpoint.FOLDER, "results")
    staging.mkdir(parents=True, exist_ok=True)
    write_model(model, str(staging / MODEL))
    keys = pa.table({"key": training_set.train_keys})
    pq.write_table(keys, staging / KEYS, compression="zstd")
    card = ModelCard(
        model=settings.model,
        classes=training_set.classes,
        preprocessing=settings.preprocessing,
        trained_on=TrainedOn(
            subset_id=settings.subset_id,
            split=settings.train_split,
            keys_file=KEYS,
        ),
        file_sha256=loaders.find_model_id(str(staging / MODEL)),
        training=settings.describe(chosen=best.rows[-1].learning_rate),
    )
    storage.write(str(staging), model_card.CARD, model_card.to_bytes(card))
    _write_predictions(staging, refs, best.outputs, training_set.train_keys)
    for name in RESULTS:
        if name != CURVES:
            (staging / name).replace(Path(folder, name))
    shutil.rmtree(Path(folder, checkpoint.FOLDER))


def write_model(model: Model, path: str) -> None:
    """Write a model to a .keras file atomically; equal models give identical bytes."""
    place = Path(path)
    temporary = place.with_name(f".{place.stem}.tmp.keras")
    try:
        model.save(temporary)
        temporary.write_bytes(_make_reproducible(temporary.read_bytes()))
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _make_reproducible(data: bytes) -> bytes:
    """Remove dates and memory addresses from the content of a .keras file."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(output, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == _METADATA:
                metadata = json.loads(content) | {"date_saved": ""}
                content = json.dumps(metadata).encode()
            if name == _CONFIG:
                content = _number_objects(content)
            new.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return output.getvalue()


def _number_objects(config: bytes) -> bytes:
    """Replace memory addresses of shared objects in config.json with 1, 2, …."""
    numbers: defaultdict[bytes, int] = defaultdict(itertools.count(1).__next__)
    return _SHARED_ID.sub(
        lambda match: b'"shared_object_id": %d' % numbers[match[1]], config
    )


def _write_predictions(
    staging: Path,
    refs: Sequence[ImageRef],
    outputs: npt.NDArray[np.float32],
    train_keys: pa.Array,
) -> None:
    """Write the validation predictions in the format of `pipelines.predict`.

    Args:
      staging: folder with the model and its card; the predictions are written to it.
      refs: the validation images.
      outputs: shape (images, classes), predicted probabilities.
      train_keys: keys of the training images, sorted.
    """
    spec = model_spec.describe_model(
        str(staging / MODEL), str(staging / model_card.CARD), None
    )
    seen = pc.is_in(pa.array([ref.key for ref in refs]), value_set=train_keys)
    parts = []
    for start in range(0, len(refs), _PREDICTION_ROWS):
        rows = slice(start, start + _PREDICTION_ROWS)
        part = refs[rows]
        scores, _ = inference.score(
            inference.to_probabilities(outputs[rows], spec.card.output),
            [spec.correct_outputs[ref.wnid] for ref in part],
            keep_probabilities=True,
        )
        table = predictions_table.make_table(
            scores,
            model=spec.scored,
            keys=[ref.key for ref in part],
            splits=[ref.split for ref in part],
            wnids=[ref.wnid for ref in part],
            seen=seen[rows].to_pylist(),
        )
        parts.append(str(staging / f"part_{start}.parquet"))
        predictions_table.write_part(table, parts[-1])
    predictions_table.merge_parts(parts, str(staging / PREDICTIONS), [spec.scored])
