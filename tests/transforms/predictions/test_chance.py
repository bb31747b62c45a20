import numpy as np
import pytest

from transforms.models.inference import to_probabilities
from transforms.predictions import chance


@pytest.mark.parametrize(
    ("num_correct", "is_expected"),
    [(0, True), (10, True), (18, True), (19, True), (30, False)],
)
def test_chance_is_detected(num_correct, is_expected):
    assert chance.is_at_chance(num_correct, 100, 1 / 8) == is_expected


def test_model_that_cannot_be_wrong_is_not_at_chance():
    assert not chance.is_at_chance(10, 10, 1)


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_a_second_softmax_is_detected_at_any_accuracy(num_classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, num_classes))
    logits[:, 0] += 9  # the correct class
    once = to_probabilities(logits, "logits")
    twice = to_probabilities(once, "logits")
    num_correct = int((once.argmax(axis=1) == 0).sum())
    for probabilities, is_flat in ((once, False), (twice, True)):
        assert is_flat == chance.are_flattened(
            num_correct,
            500,
            mean_p_correct=float(probabilities[:, 0].mean()),
            chance=1 / num_classes,
        )


def test_weak_models_and_few_classes_are_not_flattened():
    assert not chance.are_flattened(4, 1000, mean_p_correct=0.002, chance=0.001)
    assert not chance.are_flattened(100, 100, mean_p_correct=0.6, chance=0.5)
