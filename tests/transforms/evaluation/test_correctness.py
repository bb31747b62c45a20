"""Test that correctness is read from predictions, balanced and stored."""

import numpy as np
import pytest

from transforms.evaluation import correctness
from transforms.evaluation.correctness import SetCorrectness

SET = SetCorrectness(
    ("a", "b"),
    np.array(["k1", "k2", "k3", "k4"]),
    np.array([0, 0, 0, 1]),
    np.array([[True, True, True, False], [True, False, False, True]]),
)


def test_groups_have_equal_weight():
    assert SET.balance() == pytest.approx([0.5, 2 / 3])


def test_images_are_selected_by_key():
    assert SET.measure_on({"k4", "k3", "other"}) == pytest.approx([0.5, 0.5])
    assert SET.measure_on({"other"}) is None


def test_stored_correctness_is_read_back():
    data = correctness.to_npz(SET)
    found = correctness.from_npz(data)
    assert (found.models, found.keys.tolist()) == (SET.models, SET.keys.tolist())
    assert (found.labels == SET.labels).all()
    assert (found.correct == SET.correct).all()
    assert correctness.to_npz(found) == data
    with pytest.raises(ValueError, match="npz"):
        correctness.from_npz(data[:100])
