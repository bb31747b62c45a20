"""Run models on chunks of images with Beam and write one prediction file per chunk."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList

from transforms import storage
from transforms.models import image_list
from transforms.models.inference import (
    AccuracyCounts,
    ChunkPredictions,
    InferenceSettings,
    Predictor,
)
from transforms.predictions import table as predictions_table
from transforms.records import Failure

# Beam logs this warning for every model if PyTorch, with which it measures memory, is
# not installed.
logging.getLogger().addFilter(
    lambda record: not record.getMessage().startswith("Resource module is not")
)


class Chunk(NamedTuple):
    """The unit of work: the row group `number` of the image list at `path`."""

    number: int
    path: str  # of the list, as `image_list.write` wrote it


class ScoredChunk(NamedTuple):
    """The predictions of a chunk, passed to the next step without a shuffle."""

    number: int
    predictions: ChunkPredictions


class ScoredPart(NamedTuple):
    """The prediction files, accuracy counts and failures of a chunk.

    They are small enough for one worker to gather those of all chunks.
    """

    number: int
    paths: tuple[str, ...]  # one file per model
    accuracy_counts: tuple[AccuracyCounts, ...]
    failures: tuple[Failure, ...]


class ScoreImages(ModelHandler[Chunk, ScoredChunk, Predictor]):
    """Model handler that runs all models on one chunk at a time."""

    def __init__(self, settings: InferenceSettings) -> None:
        super().__init__()
        self._settings = settings

    def load_model(self) -> Predictor:
        """Load the models, once per process."""
        return Predictor.load(self._settings)

    def run_inference(
        self,
        batch: Sequence[Chunk],
        model: Predictor,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> list[ScoredChunk]:
        """Predict the chunks of `batch`, a batch in Beam's sense, not of images."""
        return [
            ScoredChunk(
                chunk.number, model.predict(image_list.read(chunk.path, chunk.number))
            )
            for chunk in batch
        ]

    def batch_elements_kwargs(self) -> Mapping[str, int]:
        """Set Beam's batch size to one chunk, so that no chunk waits for another."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_metrics_namespace(self) -> str:
        """Return the namespace of the inference metrics."""
        return "PredictImages"


class _WriteParts(beam.DoFn):
    """Writes the predictions of a chunk; a retry overwrites them with equal files."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def setup(self) -> None:
        self._scored = Metrics.counter("PredictImages", "images_scored")
        self._failed = Metrics.counter("PredictImages", "images_failed")

    def process(self, scored: ScoredChunk) -> list[ScoredPart]:
        number, predictions = scored
        paths = []
        for model, table in enumerate(predictions.tables):
            path = f"{self._folder}/{model:03d}-{number:07d}.parquet"
            predictions_table.write_part(table, path)
            paths.append(path)
            self._scored.inc(table.num_rows)
        self._failed.inc(len(predictions.failures))
        return [
            ScoredPart(
                number, tuple(paths), predictions.accuracy_counts, predictions.failures
            )
        ]


def write_scored_parts(parts: Sequence[ScoredPart], path: str) -> str:
    """Write all parts, sorted by chunk number, as JSON for the launcher.

    Returns:
      `path`.
    """
    place = Path(path)
    data = json.dumps(sorted(parts)).encode()
    storage.write(str(place.parent), place.name, data)
    return path


def read_scored_parts(path: str) -> list[ScoredPart]:
    """Read the parts from a file that `write_scored_parts` wrote."""
    return [
        ScoredPart(
            number,
            tuple(paths),
            tuple(AccuracyCounts(*counts) for counts in accuracy_counts),
            tuple(Failure(*failure) for failure in failures),
        )
        for number, paths, accuracy_counts, failures in json.loads(storage.read(path))
    ]


@dataclasses.dataclass
class PredictImages(beam.PTransform):
    """Run models on chunks of images and write their predictions.

    Attributes:
      handler: model handler that predicts a chunk.
      parts_folder: folder for the prediction files, one per chunk and model.
      gathered: path of the file that lists all parts; the output of the transform.
    """

    handler: ModelHandler[Chunk, ScoredChunk, Any]
    parts_folder: str
    gathered: str

    def expand(self, chunks: PCollection[Chunk]) -> PCollection[str]:
        """Distribute chunks over workers, run the models and gather the parts.

        Image bytes never leave the inference step.
        """
        return (
            chunks
            | "SpreadChunks" >> beam.Reshuffle()
            | "RunModels" >> RunInference(self.handler)
            | "WriteParts" >> beam.ParDo(_WriteParts(self.parts_folder))
            | "GatherParts" >> ToList()
            | "WriteGathered" >> beam.Map(write_scored_parts, path=self.gathered)
        )
