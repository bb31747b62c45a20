import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.models import inference
from transforms.models.inference import AccuracyCounts

PROBABILITIES = np.array([[0.1, 0.6, 0.3], [0.25, 0.5, 0.25]])


def test_correct_outputs_are_summed_and_the_likeliest_listed():
    scores, counts = inference.score(
        PROBABILITIES, [(0, 2), (0,)], keep_probabilities=False
    )
    assert scores.p_correct.tolist() == [np.float32(0.4), 0.25]
    assert scores.top5.tolist() == [[1, 2, 0], [1, 0, 2]]  # ties: the smaller first
    assert scores.probabilities is None
    assert counts[:4] == (2, 0, 2, 3)
    assert counts.sum_correct == pytest.approx(0.65)


def test_only_five_are_listed_and_counted():
    probabilities = np.array([[0.4, 0.2, 0.15, 0.1, 0.08, 0.07]])
    scores, counts = inference.score(probabilities, [(5,)], keep_probabilities=True)
    assert scores.top5.tolist() == [[0, 1, 2, 3, 4]]
    assert (counts.num_top1, counts.num_top5) == (0, 0)
    assert scores.probabilities.dtype == np.float16


def test_sum_above_one_by_rounding_is_one():
    scores, _ = inference.score(
        np.array([[0.7, 0.3002]]), [(0, 1)], keep_probabilities=True
    )
    assert scores.p_correct.tolist() == [1]


def test_no_images_have_no_scores():
    scores, counts = inference.score(np.zeros((0, 7)), [], keep_probabilities=True)
    assert scores.top5.shape == (0, 5)
    assert counts == AccuracyCounts()


@given(
    hnp.arrays(
        np.float32, (3, 7), elements=st.floats(-1000, 1000, width=32, allow_nan=False)
    )
)
def test_logits_become_probabilities_in_the_same_order(logits):
    probabilities = inference.to_probabilities(logits, "logits")
    assert inference.find_bad_row(probabilities, "probabilities") is None
    assert (
        probabilities.max(axis=1) == probabilities[range(3), logits.argmax(1)]
    ).all()


def test_tiny_negative_probabilities_become_zero():
    outputs = np.array([[1.0, -1e-8]])
    assert inference.find_bad_row(outputs, "probabilities") is None
    assert inference.to_probabilities(outputs, "probabilities").tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [
        ([0.5, np.nan], "probabilities", "not finite"),
        ([0.5, np.inf], "logits", "not finite"),
        ([1.5, -0.5], "probabilities", "below 0"),
        ([0.5, 0.6], "probabilities", "do not sum to 1"),
    ],
)
def test_first_invalid_row_is_named(row, kind, expected):
    found = inference.find_bad_row(np.array([[0.5, 0.5], row, row]), kind)
    assert found is not None
    assert found[0] == 1
    assert expected in found[1]


def test_logits_may_be_anything_finite():
    assert inference.find_bad_row(np.array([[-5.0, 90.0]]), "logits") is None


def test_chance_counts_every_correct_output():
    assert inference.find_chance(AccuracyCounts(10, num_correct_outputs=20), 8) == 0.25
    assert inference.find_chance(AccuracyCounts(), 8) == 0


LOGITS = np.array([[2.0, 0.5, -1.0], [0.25, 3.0, 0.5]])


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (PROBABILITIES, "probabilities"),
        (PROBABILITIES[:, ::-1] * 100, "percentages"),
        (np.array([[0.2, 0.9], [0.5, 0.1]]), "independent probabilities"),
        (np.log(PROBABILITIES), ""),
        (LOGITS, ""),
        (np.vstack([PROBABILITIES, LOGITS]), ""),
        (np.full((2, 3), np.nan), ""),
    ],
    ids=["probabilities", "percent", "sigmoid", "logarithms", "logits", "some", "nan"],
)
def test_type_of_outputs_is_inferred_from_their_values(outputs, expected):
    assert inference.infer_output_type(outputs) == expected


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_outputs_of_no_class_are_left_out(position, kind):
    background = np.full(2, 0.5 if kind == "probabilities" else 9.0)
    values = PROBABILITIES / 2 if kind == "probabilities" else np.log(PROBABILITIES)
    outputs = np.insert(values, position, background, axis=1)
    np.testing.assert_allclose(
        inference.to_probabilities(outputs, kind, (position,)), PROBABILITIES
    )


def test_image_that_is_nothing_but_background_could_be_any_class():
    outputs = np.array([[1.0, 0, 0], [0, 0.25, 0.75]])
    assert inference.to_probabilities(outputs, "probabilities", (0,)).tolist() == [
        [0.5, 0.5],
        [0.25, 0.75],
    ]
