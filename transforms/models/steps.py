"""Run models on chunks of images with Beam, and write the table of predictions."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList

from transforms.models import image_chunks, parts, results
from transforms.models.image_chunks import Chunk
from transforms.models.inference import ChunkPredictions, InferenceSettings, Predictor
from transforms.models.parts import ScoredPart
from transforms.models.results import TableSettings

# Beam logs this warning for every model if PyTorch, with which it measures memory, is
# not installed.
logging.getLogger().addFilter(
    lambda record: not record.getMessage().startswith("Resource module is not")
)


class ScoredChunk(NamedTuple):
    """The predictions of a chunk, passed to the next step without a shuffle.

    They are None if an earlier run or try has already written them.
    """

    chunk: Chunk
    predictions: ChunkPredictions | None


class ScoreImages(ModelHandler[Chunk, ScoredChunk, Predictor]):
    """Model handler that runs all models on the chunks of an image list."""

    def __init__(
        self, settings: InferenceSettings, work: str, *, shares_models: bool = False
    ) -> None:
        """Create the handler.

        Args:
          settings: settings of the run.
          work: work folder of the run.
          shares_models: whether one process of each machine loads the models, and the
            others call it.
        """
        super().__init__(large_model=shares_models)
        self._settings = settings
        self._work = work

    def load_model(self) -> Predictor:
        """Load the models, once per process or machine."""
        return Predictor.load(self._settings)

    def run_inference(
        self,
        batch: Sequence[Chunk],
        model: Predictor,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> list[ScoredChunk]:
        """Predict the chunks of `batch`, a batch in Beam's sense, not of images."""
        left = [c for c in batch if not parts.find_finished(self._work, c)]
        images = [image_chunks.read(self._work, chunk) for chunk in left]
        predictions = dict(zip(left, model.predict(images), strict=True))
        return [ScoredChunk(chunk, predictions.get(chunk)) for chunk in batch]

    def batch_elements_kwargs(self) -> Mapping[str, int]:
        """Set Beam's batch size to one chunk per thread.

        A chunk has too few batches to keep many threads busy.
        """
        num_chunks = self._settings.num_threads
        return {"min_batch_size": num_chunks, "max_batch_size": num_chunks}

    def get_metrics_namespace(self) -> str:
        """Return the namespace of the inference metrics."""
        return "PredictImages"


class _WriteParts(beam.DoFn):
    """Writes the predictions of a chunk; a retry overwrites them with equal files."""

    def __init__(self, work: str) -> None:
        self._work = work

    def setup(self) -> None:
        self._scored = Metrics.counter("PredictImages", "images_scored")
        self._failed = Metrics.counter("PredictImages", "images_failed")

    def process(self, scored: ScoredChunk) -> list[ScoredPart]:
        chunk, predictions = scored
        if predictions is None:
            part = parts.find_finished(self._work, chunk)
            return [part] if part else []
        self._scored.inc(sum(table.num_rows for table in predictions.tables))
        self._failed.inc(len(predictions.failures))
        return [parts.write(self._work, chunk, predictions)]


@dataclasses.dataclass
class PredictImages(beam.PTransform):
    """Run models on chunks of images and write their predictions.

    The input elements are chunks, the output elements their parts.

    Attributes:
      handler: model handler that predicts a chunk.
      work: work folder of the run, with the image list and the parts.
    """

    handler: ModelHandler[Chunk, ScoredChunk, Any]
    work: str

    def expand(self, chunks: PCollection[Chunk]) -> PCollection[ScoredPart]:
        """Distribute chunks over workers and run the models.

        Image bytes never leave the inference step.
        """
        return (
            chunks
            | "SpreadChunks" >> beam.Reshuffle()
            | "RunModels" >> RunInference(self.handler)
            | "WriteParts" >> beam.ParDo(_WriteParts(self.work))
        )


@dataclasses.dataclass
class WriteTable(beam.PTransform):
    """Merge the parts into the table of predictions, then remove them."""

    settings: TableSettings

    def expand(self, scored: PCollection[ScoredPart]) -> PCollection[None]:
        """Gather all parts before the merge, so that it runs after the last one."""
        return (
            scored
            | "GatherParts" >> ToList()
            | "MergeParts"
            >> beam.Map(partial(results.write_table, settings=self.settings))
            # Prevents fusion, so that no runner merges again once the parts are gone.
            | "SettleTable" >> beam.Reshuffle()
            | "RemoveParts" >> beam.Map(partial(results.clear, settings=self.settings))
        )
