import numpy as np
import pytest

from transforms.evaluation.by_predictions import evaluate_predictions, make_group_of
from transforms.grouping.methods import curated
from transforms.grouping.table import GroupingRequest, make_table
from transforms.labels import classes
from transforms.predictions.reading import (
    Predictions,
    official_images,
    read_predictions,
)
from transforms.records import ImageClass, UsageError

TRUTH = np.arange(4000) % 40
HALVES = np.where(np.arange(1000) < 40, np.arange(1000) // 20, -1)
PAIRS = np.arange(1000) // 2


def model(name, wrong_by, every):
    """Make a model whose likeliest class is wrong by so much, every so many images."""
    first = TRUTH.copy()
    first[::every] = (first[::every] + wrong_by) % 40
    others = [(first + step) % 40 for step in (3, 7, 11)]
    return Predictions(name, np.stack([first, TRUTH, *others], axis=1), TRUTH)


MODELS = [model("good", 20, 13), model("fair", 1, 7), model("poor", 20, 3)]


def test_models_are_scored_over_classes_and_over_groups():
    found = evaluate_predictions(MODELS, {"pairs": PAIRS})
    (score,) = found.scores  # no class is left out: one way to answer
    assert found.models == ("good", "fair", "poor")
    expected = [1 - -(-4000 // every) / 4000 for every in (13, 7, 3)]
    assert found.full.accuracies == pytest.approx(expected)
    assert found.full.num_decided == 3
    assert not score.is_masked
    assert (score.num_images, score.shape.num_groups) == (4000, 500)
    assert score.ranks.num_models == 3
    assert score.num_right.tolist()[0] == round(4000 * expected[0])
    assert score.num_right.tolist()[1] > 4000 * expected[1]


def test_where_classes_are_left_out_both_ways_to_answer_are_told():
    some = np.where(np.arange(1000) < 20, np.arange(1000) // 2, -1)
    full, masked = evaluate_predictions(MODELS, {"some": some}).scores
    assert (full.is_masked, masked.is_masked) == (False, True)
    assert full.num_images == masked.num_images == 2000
    assert (masked.num_right >= full.num_right).all()
    # wrong by 20 is a class that is left out, and the next of the five is right
    assert masked.tests.accuracies[0] == 1
    assert full.tests.accuracies[0] < 1
    assert full.undecided.tolist() == [0, 0, 0]


def test_too_many_undecided_images_are_warned_about():
    alone = np.where(np.arange(1000) == 0, 0, -1)
    alone[1] = 1
    blind = Predictions("blind", np.full((4000, 5), 30), TRUTH)
    found = evaluate_predictions([*MODELS, blind], {"two": alone})
    assert found.scores[1].undecided.tolist() == [0, 0, 0, 1]
    (warning,) = found.warnings
    assert warning.startswith("two, own classes only: 1 of 4 models")
    assert warning.endswith("most blind, 100.0%")


def test_needed_images_grow_with_the_share_of_pairs():
    (score,) = evaluate_predictions(MODELS, {"pairs": PAIRS}).scores
    assert list(score.needed) == [0.5, 0.8, 0.9, 0.95]
    known = [images for images in score.needed.values() if images is not None]
    assert known == sorted(known)


def test_two_models_are_too_few():
    with pytest.raises(UsageError, match="2 models; a ranking needs 3"):
        evaluate_predictions(MODELS[:2], {"pairs": PAIRS})


def test_groups_without_images_are_refused_by_name():
    nowhere = np.where(np.arange(1000) > 900, 0, -1)
    with pytest.raises(UsageError, match="--groups far: good: the groups hold none"):
        evaluate_predictions(MODELS, {"far": nowhere})


@pytest.mark.real
def test_curated_categories_of_trained_models_are_right_as_published(real_data):
    names = ("vgg16", "alexnet", "resnet34")
    paths = [f"{real_data}/predictions/{name}.npz" for name in names]
    held = tuple(
        ImageClass(info.wnid, info.class_index, info.name, 0, 0)
        for info in classes.load_classes()
    )
    request = GroupingRequest(
        classes=held,
        num_groups=67,
        seed=0,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=True,
        groups_file=None,
    )
    grouped = curated.group_classes(request, curated.Options())
    table = make_table(held, grouped.assignment, grouped.names)
    found = evaluate_predictions(
        read_predictions(paths), {"curated": make_group_of(table.label_of)}
    )
    (score,) = found.scores
    assert score.num_images == len(official_images()[0]) == 50_000
    assert score.num_right.tolist()[:2] == [42_322, 36_726]
