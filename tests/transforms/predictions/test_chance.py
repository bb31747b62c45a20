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


def _count(top1_accuracy, order, num_per_class=50, num_classes=100):
    """Count pairs of a model that confuses classes with random others."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(num_classes), num_per_class)
    is_right = rng.random(len(truth)) < top1_accuracy
    predicted = np.where(is_right, truth, rng.integers(num_classes, size=len(truth)))
    return chance.count_pairs(truth, order[predicted], num_classes)


@pytest.mark.parametrize("num_per_class", [10, 50])
@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_classes_in_another_order_are_found_above_chance(accuracy, num_per_class):
    """The first classes are right, the others shifted by one."""
    order = np.arange(100)
    order[40:] = np.roll(order[40:], 1)
    counts = _count(accuracy, order, num_per_class)
    best = chance.count_better_order(counts)
    right = _count(accuracy, np.arange(100), num_per_class)
    assert best == pytest.approx(np.trace(right), rel=0.02)
    problem = chance.find_problem(counts, int(counts.sum()), 0.01)
    assert "with its classes in another order" in problem


@pytest.mark.parametrize("num_per_class", [1, 5, 10, 50])
@pytest.mark.parametrize("accuracy", [0.05, 0.1, 0.3, 0.9])
def test_models_of_any_accuracy_are_in_order(accuracy, num_per_class):
    counts = _count(accuracy, np.arange(100), num_per_class)
    assert chance.count_better_order(counts) is None


def test_pairs_count_images_of_known_classes():
    truth, predicted = np.array([0, 1, 1, -1, 0]), np.array([0, 1, 0, 1, 2])
    assert chance.count_pairs(truth, predicted, 2).tolist() == [[1, 0], [1, 1]]
    many = chance.count_pairs(truth, predicted, 20_000)
    assert (np.trace(many), many.sum()) == (2, 4)
