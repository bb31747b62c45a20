import csv

import numpy as np
import pytest

from transforms.evaluation.by_predictions import make_group_of, score, score_classes
from transforms.labels import classes
from transforms.predictions.reading import Predictions, read_predictions
from transforms.records import UsageError


def predict(*rows):
    """Make predictions of rows (true class, five likeliest classes)."""
    truth = np.array([true for true, _ in rows])
    return Predictions("model", np.array([five for _, five in rows]), truth)


def group(*groups):
    group_of = np.full(1000, -1)
    for label, members in enumerate(groups):
        group_of[list(members)] = label
    return group_of


IMAGES = predict(
    (0, [0, 5, 6, 7, 8]),  # right class
    (0, [1, 0, 6, 7, 8]),  # right group
    (0, [9, 2, 1, 7, 8]),  # left out, then a wrong group, then the right one
    (2, [9, 8, 3, 0, 1]),  # left out, then the right group
    (2, [9, 8, 7, 6, 5]),  # nothing in a group
    (9, [9, 0, 1, 2, 3]),  # not counted
)
GROUPS = group((0, 1), (2, 3))


def test_full_argmax_counts_a_left_out_prediction_as_wrong():
    full = score(IMAGES, GROUPS, masked=False)
    assert full.counted.tolist() == [True] * 5 + [False]
    assert full.correct.tolist() == [True, True, False, False, False]
    assert (full.num_images, full.num_undecided) == (5, 0)
    assert full.accuracy == 2 / 5


def test_masked_argmax_takes_the_first_class_that_is_in_a_group():
    masked = score(IMAGES, GROUPS, masked=True)
    assert masked.counted.tolist() == [True] * 5 + [False]
    assert masked.correct.tolist() == [True, True, False, True, False]
    assert masked.num_undecided == 1
    assert masked.accuracy == 3 / 5
    assert masked.undecided_share == 1 / 5


def test_masking_changes_nothing_where_no_class_is_left_out():
    whole = np.arange(1000) % 3
    full, masked = (score(IMAGES, whole, masked=m) for m in (False, True))
    assert full.correct.tolist() == masked.correct.tolist()
    assert masked.num_undecided == 0


def test_every_class_its_own_group_is_top1_accuracy():
    alone = score(IMAGES, np.arange(1000), masked=False)
    assert alone.correct.tolist() == score_classes(IMAGES).tolist()
    assert alone.correct.tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("masked", [False, True], ids=["full", "masked"])
def test_score_is_that_of_a_loop(masked):
    rng = np.random.default_rng(0)
    images = Predictions(
        "model",
        np.stack([rng.permutation(1000)[:5] for _ in range(500)]) // 20,
        rng.integers(0, 50, 500),
    )
    group_of = np.where(np.arange(1000) % 3 > 0, np.arange(1000) % 7, -1)
    expected, num_undecided = [], 0
    for true, five in zip(images.truth, images.top5, strict=True):
        if group_of[true] < 0:
            continue
        choice = [c for c in five if group_of[c] >= 0] if masked else five
        num_undecided += not len(choice)
        expected.append(len(choice) > 0 and group_of[choice[0]] == group_of[true])
    result = score(images, group_of, masked=masked)
    assert result.correct.tolist() == expected
    assert result.num_undecided == num_undecided


def test_grouping_without_any_of_the_images_is_an_error():
    with pytest.raises(UsageError, match="model: the groups hold none"):
        score(IMAGES, group((700, 701)), masked=True)


def test_group_of_must_have_a_group_for_each_class():
    with pytest.raises(ValueError, match=r"shape \(999,\), not \(1000,\)"):
        score(IMAGES, np.zeros(999, int), masked=False)


def test_labels_are_laid_out_by_class_index():
    first, *_, last = (info.wnid for info in classes.load_classes())
    group_of = make_group_of({last: 1, first: 0, "n99999999": 2})
    assert group_of.shape == (1000,)
    assert (group_of[0], group_of[999]) == (0, 1)
    assert (group_of[1:999] == -1).all()


@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "num_right"), [("vgg16", 42_322), ("alexnet", 36_726)]
)
def test_real_models_under_the_curated_categories(real_data, model, num_right):
    path = real_data / "labels" / "curated_categories_synset.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        category_of = {row["synset"]: row["categories"] for row in csv.DictReader(file)}
    names = sorted(set(category_of.values()))
    group_of = make_group_of({w: names.index(c) for w, c in category_of.items()})
    assert (len(names), int((group_of < 0).sum())) == (67, 0)
    (one,) = read_predictions([str(real_data / "predictions" / f"{model}.npz")])
    assert int(score(one, group_of, masked=False).correct.sum()) == num_right
    assert int(score(one, group_of, masked=True).correct.sum()) == num_right
