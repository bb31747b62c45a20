"""Chunks of images → parts of a table of predictions: the step that asks models."""

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
    ChunkPredictions,
    InferenceSettings,
    Predictor,
    Tally,
)
from transforms.predictions import table as predictions_table
from transforms.records import Failure

# Beam says so of every model where PyTorch, which it measures memory with, is missing.
logging.getLogger().addFilter(
    lambda record: not record.getMessage().startswith("Resource module is not")
)


class Chunk(NamedTuple):
    """Some images: a row group of a list."""

    number: int
    path: str  # of the list, see image_list


class ScoredChunk(NamedTuple):
    """What the models say of a chunk. Never crosses a shuffle: it is written next."""

    number: int
    answered: ChunkPredictions


class ScoredPart(NamedTuple):
    """A chunk when its rows are written, small enough to gather."""

    number: int
    paths: tuple[str, ...]  # a file for each model
    tallies: tuple[Tally, ...]
    failures: tuple[Failure, ...]


class ScoreImages(ModelHandler[Chunk, ScoredChunk, Predictor]):
    """Asks models of a chunk at a time, in batches that the chunk alone decides."""

    def __init__(self, settings: InferenceSettings) -> None:
        super().__init__()
        self._settings = settings

    def load_model(self) -> Predictor:
        """Load the models, once a process."""
        return Predictor.load(self._settings)

    def run_inference(
        self,
        batch: Sequence[Chunk],
        model: Predictor,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> list[ScoredChunk]:
        """Read, decode and ask; a chunk has its own batches, whatever Beam's are."""
        return [
            ScoredChunk(
                chunk.number, model.ask(image_list.read(chunk.path, chunk.number))
            )
            for chunk in batch
        ]

    def batch_elements_kwargs(self) -> Mapping[str, int]:
        """Hand out one chunk at a time, so that none waits for another."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_metrics_namespace(self) -> str:
        """Name Beam's metrics of inference as ours."""
        return "PredictImages"


class _WriteParts(beam.DoFn):
    """Writes what each model says of a chunk; a retry writes the same bytes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def setup(self) -> None:
        self._scored = Metrics.counter("PredictImages", "images_scored")
        self._failed = Metrics.counter("PredictImages", "images_failed")

    def process(self, scored: ScoredChunk) -> list[ScoredPart]:
        number, answered = scored
        paths = []
        for model, table in enumerate(answered.tables):
            path = f"{self._folder}/{model:03d}-{number:07d}.parquet"
            predictions_table.write_part(table, path)
            paths.append(path)
            self._scored.inc(table.num_rows)
        self._failed.inc(len(answered.failures))
        return [ScoredPart(number, tuple(paths), answered.tallies, answered.failures)]


def write_outcome(parts: Sequence[ScoredPart], path: str) -> str:
    """Write what became of the chunks, in their order, for the launcher."""
    place = Path(path)
    data = json.dumps(sorted(parts)).encode()
    storage.write(str(place.parent), place.name, data)
    return path


def read_outcome(path: str) -> list[ScoredPart]:
    """Read what became of the chunks."""
    return [
        ScoredPart(
            number,
            tuple(paths),
            tuple(Tally(*tally) for tally in tallies),
            tuple(Failure(*failure) for failure in failures),
        )
        for number, paths, tallies, failures in json.loads(storage.read(path))
    ]


@dataclasses.dataclass
class PredictImages(beam.PTransform):
    """Ask models of images. Chunks in, the path of what became of them out."""

    handler: ModelHandler[Chunk, ScoredChunk, Any]
    parts_folder: str
    gathered: str

    def expand(self, chunks: PCollection[Chunk]) -> PCollection[str]:
        """Break fusion, so that many workers ask; no picture leaves its step."""
        return (
            chunks
            | "SpreadChunks" >> beam.Reshuffle()
            | "AskModels" >> RunInference(self.handler)
            | "WriteParts" >> beam.ParDo(_WriteParts(self.parts_folder))
            | "GatherParts" >> ToList()
            | "WriteGathered" >> beam.Map(write_outcome, path=self.gathered)
        )
