"""Images of a split → batches of what their bytes become, the same as for `predict`."""

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
from transforms.models.image_list import ImageSource
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

MAX_KEPT_BYTES = 1 << 30
_BATCH_IMAGES = 256
_NUM_THREADS = num_cores()

ImageBatch = npt.NDArray[np.uint8]


class ValidationImages:
    """Batches of pictures in the order of the table; kept in memory where few."""

    def __init__(
        self,
        source: ImageSource,
        settings: Preprocessing,
        *,
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self.refs = index_table.to_refs(source.table)
        self._root = source.roots[0]
        self._settings = settings
        self._is_small = len(self.refs) * settings.crop_px**2 * 3 <= max_kept_bytes
        self._kept: list[ImageBatch] = []

    def __iter__(self) -> Iterator[ImageBatch]:
        """Yield batches, shape (images, crop_px, crop_px, 3).

        Raises: JobError: an image that the dataset lists cannot be read.
        """
        if self._kept:
            yield from self._kept
            return
        kept = []
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(self.refs), _BATCH_IMAGES):
                refs = self.refs[start : start + _BATCH_IMAGES]
                batch = np.stack(list(pool.map(self._prepare, refs)))
                if self._is_small:
                    kept.append(batch)
                yield batch
        self._kept = kept

    def _prepare(self, ref: ImageRef) -> ImageBatch:
        try:
            data = read_image_bytes(self._root, ref)
            return inference.prepare(data, self._settings)
        except DataError as error:
            raise JobError(
                f"{ref.key} ({describe_place(ref)}): {error}; see what is wrong with "
                "python -m pipelines.verify"
            ) from error


_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip files know
_METADATA, _CONFIG = "metadata.json", "config.json"
_ADDRESS = re.compile(rb'"shared_object_id": (\d+)')


def write(model: Model, path: str) -> None:
    """Write a model; the file appears whole or not at all."""
    place = Path(path)
    temporary = place.with_name(f".{place.stem}.tmp.keras")
    try:
        model.save(temporary)
        temporary.write_bytes(_make_equal(temporary.read_bytes()))
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _make_equal(data: bytes) -> bytes:
    """Take out what differs from run to run: dates, and addresses in memory."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == _METADATA:
                metadata = json.loads(content) | {"date_saved": ""}
                content = json.dumps(metadata).encode()
            if name == _CONFIG:
                content = _number_objects(content)
            new.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return made.getvalue()


def _number_objects(config: bytes) -> bytes:
    """Name objects that layers share by number, in order, not by their address."""
    numbers: defaultdict[bytes, int] = defaultdict(itertools.count(1).__next__)
    return _ADDRESS.sub(
        lambda found: b'"shared_object_id": %d' % numbers[found[1]], config
    )


_ROWS_AT_ONCE = 4096


def find_accuracy(
    outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> float:
    """Return the share of images whose likeliest output is right.

    Of equal ones the first counts; an image whose outputs are no numbers is wrong.
    """
    is_right = outputs.argmax(axis=1) == labels
    return int((is_right & np.isfinite(outputs).all(axis=1)).sum()) / len(labels)


def choose_best(reached: Sequence[Progress]) -> Progress:
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


def write_curves(folder: str, reached: Sequence[Progress]) -> None:
    """Write what is known so far of all learning rates."""
    rows = [row for run in reached for row in run.rows]
    storage.write(folder, CURVES, training_curves.to_csv(rows))


def write_outcome(
    folder: str,
    *,
    best: Progress,
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
    write(model, str(aside / MODEL))
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
        file_sha256=loaders.find_model_id(str(aside / MODEL)),
        training=settings.describe(chosen=best.rows[-1].learning_rate),
    )
    storage.write(str(aside), model_card.CARD, model_card.to_bytes(described))
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
    asked = model_spec.describe_model(
        str(aside / MODEL), str(aside / model_card.CARD), None
    )
    seen = pc.is_in(pa.array([ref.key for ref in refs]), value_set=train_keys)
    parts = []
    for start in range(0, len(refs), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        own = refs[rows]
        scores, _ = inference.score(
            inference.to_probabilities(outputs[rows], asked.card.output),
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
