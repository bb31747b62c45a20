"""Tests of the inference transform with a handler that only counts."""

import pickle
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.models import parts
from transforms.models.image_chunks import Chunk
from transforms.models.inference import AccuracyCounts, ChunkPredictions
from transforms.models.steps import PredictImages, ScoredChunk
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
        number = chunk.number
        table = make_table(
            Scores(
                np.array([number / 100], np.float32),
                np.array([[0, 1]], np.uint16),
                None,
            ),
            model=MODEL,
            keys=[f"k{number}"],
            splits=["train"],
            wnids=["n00000001"],
            seen=[None],
        )
        failures = ()
        if number % 2:
            failures = (Failure("bad", "train", -1, "n00000001", "x at byte 0", "cut"),)
        counts = AccuracyCounts(1, 1, 1, 1, number / 100)
        predictions = ChunkPredictions((table, table), (counts, counts), failures)
        return ScoredChunk(chunk, predictions)


def _make_chunks(num_chunks):
    return [Chunk(n, 1, f"digest{n}") for n in range(num_chunks)]


def _run(folder, *flags, num_chunks=5):
    options = PipelineOptions(list(flags))
    with beam.Pipeline("FnApiRunner", options=options) as root:
        _ = (
            root
            | beam.Create(reversed(_make_chunks(num_chunks)))
            | PredictImages(_Counting(), str(folder))
            | beam.combiners.ToList()
            | beam.Map(_write, path=folder / "all.pickle")
        )
    return sorted(pickle.loads((folder / "all.pickle").read_bytes()))


def _write(scored, path):
    path.write_bytes(pickle.dumps(scored))


@pytest.mark.parametrize(
    "flags", [(), ("--direct_runner_bundle_repeat=2",)], ids=["once", "twice"]
)
def test_every_chunk_becomes_a_part_for_each_model(tmp_path, flags):
    scored = _run(tmp_path, *flags)
    assert [part.chunk.number for part in scored] == [0, 1, 2, 3, 4]
    for part in scored:
        for model in range(2):
            path = parts.find_path(str(tmp_path), part.chunk, model)
            (row,) = pq.read_table(path).to_pylist()
            assert row["key"] == f"k{part.chunk.number}"
    assert len(list(tmp_path.glob("**/*.parquet"))) == 10
    assert [len(part.failures) for part in scored] == [0, 1, 0, 1, 0]
    assert scored[3].accuracy_counts[0].sum_correct == 0.03


def test_images_are_counted(tmp_path):
    root = beam.Pipeline("FnApiRunner")
    _ = (
        root
        | beam.Create(_make_chunks(3)[1:])
        | PredictImages(_Counting(), str(tmp_path))
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


def test_only_whole_chunks_without_failures_are_finished(tmp_path):
    work = str(tmp_path)
    whole, _, empty, _, damaged = _run(tmp_path)
    Path(parts.find_path(work, empty.chunk, 1)).write_bytes(b"")
    next(tmp_path.glob("parts/0000004-*.json")).write_text("")
    assert parts.list_finished(work, _make_chunks(7)) == [whole.chunk]
    assert parts.find_finished(work, whole.chunk) == whole
    assert parts.find_finished(work, damaged.chunk) is None
    assert parts.find_finished(work, whole.chunk._replace(digest="other")) is None
