"""Test that the sum of counts depends on neither their order nor the workers."""

import functools
import json

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing import test_pipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import making_predictions
from transforms.confusion import counts as confusion_counts
from transforms.confusion import results
from transforms.confusion.counts import ConfusionCounts, CountPlan
from transforms.confusion.results import MatrixSettings
from transforms.confusion.steps import CountPredictions, SumCounts
from transforms.labels.classes import load_classes
from transforms.predictions import table as predictions_table
from transforms.records import JobError

SIZE = 3
WNIDS = [info.wnid for info in load_classes()[:SIZE]]


def _make_counts(number):
    rng = np.random.default_rng(number)
    cells = rng.integers(0, 2**53, (2, SIZE, SIZE))
    num_images, accuracy = rng.integers(0, 99, (2, SIZE)), rng.integers(0, 99, (4, 2))
    return ConfusionCounts(cells, num_images, accuracy, number)


def _contents(counts):
    arrays = (counts.cells, counts.num_images, counts.accuracy)
    return [*(array.tolist() for array in arrays), counts.num_undecided]


def _write(counts, path):
    path.write_text(json.dumps(_contents(counts)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=8), st.integers(0, 8), st.randoms())
def test_merging_equals_folding_in_any_order(numbers, cut, random):
    add_up = SumCounts(SIZE, num_models=4)

    def fold(chosen):
        counts = [_make_counts(number) for number in chosen]
        start = add_up.create_accumulator()
        return functools.reduce(add_up.add_input, counts, start)

    expected = _contents(add_up.extract_output(fold(numbers)))
    mixed = random.sample(numbers, len(numbers))
    parts = [fold(mixed[:cut]), add_up.create_accumulator(), fold(mixed[cut:])]
    merged = add_up.merge_accumulators(parts)
    assert _contents(add_up.extract_output(merged)) == expected


@pytest.fixture
def surveyed(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions_table, "ROWS_IN_GROUP", 7)
    model = making_predictions.scored(WNIDS)
    keys = [f"k{number}" for number in range(40)]
    softmax = np.random.default_rng(0).dirichlet(np.ones(SIZE), 40)
    wnids = [WNIDS[number % SIZE] for number in range(40)]
    rows = making_predictions.rows(model, keys, wnids, softmax, keep=True)
    path = making_predictions.write(tmp_path / "p.parquet", [model], rows)
    return confusion_counts.survey([path], seed=0)


@pytest.mark.parametrize("is_soft", [False, True], ids=["hard", "soft"])
def test_the_step_writes_the_sum_of_all_parts(surveyed, tmp_path, is_soft):
    plan = CountPlan(surveyed.wnids, surveyed.cutoffs, 0, is_soft)
    output = tmp_path / "counts.json"
    with test_pipeline.TestPipeline() as root:
        _ = (
            root
            | beam.Create(confusion_counts.divide(surveyed.pieces))
            | CountPredictions(plan)
            | beam.Map(_write, path=output)
        )
    expected = ConfusionCounts.empty(SIZE)
    for piece in reversed(surveyed.pieces):
        expected.add(confusion_counts.count([piece], plan))
    assert len(surveyed.pieces) == 6
    assert expected.num_images.sum() == 40
    assert json.loads(output.read_text()) == _contents(expected)


def test_a_lost_and_a_repeated_part_of_equal_size_are_an_error(surveyed, tmp_path):
    plan = CountPlan(surveyed.wnids, surveyed.cutoffs, 0, is_soft=False)
    first, _, *others = surveyed.pieces
    counts = confusion_counts.count([first, first, *others], plan)
    assert counts.num_images.sum() == surveyed.num_images
    settings = MatrixSettings(output=str(tmp_path / "o"), survey=surveyed, plan=plan)
    with pytest.raises(JobError, match=r"lost 1 of 6 .*: row group 1 of .*p\.pa"):
        results.write_results(counts, settings)
    assert not (tmp_path / "o").exists()
