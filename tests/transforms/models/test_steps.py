"""Tests of the inference transform with a handler that only counts."""

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.models import steps as predict_steps
from transforms.models.inference import AccuracyCounts, ChunkPredictions
from transforms.models.steps import Chunk, PredictImages, ScoredChunk, ScoredPart
from transforms.predictions.table import ModelClass, ScoredModel, Scores, make_table
from transforms.records import Failure

MODEL = ScoredModel(
    model="fake",
    model_id="id",
    classes=(ModelClass("a", ("n00000001",)), ModelClass("b", ("n00000002",))),
    trained_on_subset_id="",
    trained_on_split="",
    correct="class",
)


class _Loaded:
    """A model that Beam can share by weak reference."""


class _Counting(ModelHandler):
    """Predicts p_correct = number / 100 for the only image of a chunk."""

    def load_model(self):
        return _Loaded()

    def run_inference(self, batch, model, inference_args=None):
        assert isinstance(model, _Loaded)
        assert inference_args is None
        return [self._predict(chunk) for chunk in batch]

    @staticmethod
    def _predict(chunk):
        table = make_table(
            Scores(
                np.array([chunk.number / 100], np.float32),
                np.array([[0, 1]], np.uint16),
                None,
            ),
            model=MODEL,
            keys=[f"k{chunk.number}"],
            splits=["train"],
            wnids=["n00000001"],
            seen=[None],
        )
        failures = ()
        if chunk.number % 2:
            failures = (Failure("bad", "train", -1, "n00000001", "x at byte 0", "cut"),)
        counts = AccuracyCounts(1, 1, 1, 1, chunk.number / 100)
        predictions = ChunkPredictions((table, table), (counts, counts), failures)
        return ScoredChunk(chunk.number, predictions)


def _run(folder, *flags, num_chunks=5):
    options = PipelineOptions(list(flags))
    with beam.Pipeline("FnApiRunner", options=options) as root:
        _ = (
            root
            | beam.Create([Chunk(n, "nowhere") for n in reversed(range(num_chunks))])
            | PredictImages(
                _Counting(), parts_folder=str(folder), gathered=f"{folder}/all.json"
            )
        )
    return predict_steps.read_scored_parts(f"{folder}/all.json")


@pytest.mark.parametrize(
    "flags", [(), ("--direct_runner_bundle_repeat=2",)], ids=["once", "twice"]
)
def test_every_chunk_becomes_a_part_for_each_model(tmp_path, flags):
    parts = _run(tmp_path, *flags)
    assert [part.number for part in parts] == [0, 1, 2, 3, 4]
    for part in parts:
        for path in part.paths:
            (row,) = pq.read_table(path).to_pylist()
            assert row["key"] == f"k{part.number}"
    assert len({path for part in parts for path in part.paths}) == 10
    assert [len(part.failures) for part in parts] == [0, 1, 0, 1, 0]
    assert parts[3].accuracy_counts[0].sum_correct == 0.03


def test_images_are_counted(tmp_path):
    root = beam.Pipeline("FnApiRunner")
    _ = (
        root
        | beam.Create([Chunk(1, "nowhere"), Chunk(2, "nowhere")])
        | PredictImages(
            _Counting(), parts_folder=str(tmp_path), gathered=f"{tmp_path}/all.json"
        )
    )
    result = root.run()
    result.wait_until_finish()
    found = MetricsFilter().with_namespace("PredictImages")
    counters = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query(found)["counters"]
    }
    assert counters["images_scored"] == 4
    assert counters["images_failed"] == 1


def test_gathered_parts_are_read_as_they_were(tmp_path):
    failure = Failure("k", "train", -1, "n00000001", "x at byte 0", "cut")
    parts = [
        ScoredPart(1, ("b",), (AccuracyCounts(1, 0, 1, 1, 0.1),), ()),
        ScoredPart(0, ("a",), (AccuracyCounts(2, 0, 1, 2, 1 / 3),), (failure,)),
    ]
    path = predict_steps.write_scored_parts(parts, str(tmp_path / "all.json"))
    assert predict_steps.read_scored_parts(path) == sorted(parts)
