import csv

import numpy as np
import pytest

from tests import making_curves
from tests.making_curves import FULL_ID, found, rows
from transforms.evaluation import ranking
from transforms.evaluation.curves import gather
from transforms.records import UsageError

THREE = {"a": [0.1, 0.3], "b": [0.2, 0.2], "c": [0.3, 0.1]}


def refuse(made, *words):
    with pytest.raises(UsageError) as caught:
        gather(found(made))
    for word in words:
        assert word in str(caught.value)


def test_sets_are_told_apart_by_their_ids():
    made = rows(THREE) + rows(THREE, subset_id="ab", train_images=5)
    (full, small), warnings = gather(found(made))
    assert (full.subset_id, small.subset_id) == (FULL_ID, "ab")
    assert (full.train_images, small.train_images) == (1000, 5)
    assert full.models == ("a", "b", "c")
    assert full.name == "full ffffffff"
    assert warnings == []


def test_each_seeds_best_learning_rate_is_averaged():
    made = [
        *rows({"a": [0.5, 0.1]}, learning_rate=1),
        *rows({"a": [0.1, 0.2]}, learning_rate=2),
        *rows({"a": [0.3, 0.4]}, learning_rate=1, seed=7),
        *rows({"a": [0.9, 0.4]}, learning_rate=2, seed=7),  # as good: the first counts
    ]
    (one,), _ = gather(found(made))
    best = [(run.seed, run.learning_rate) for run in one.best_runs("a")]
    assert best == [(0, 2.0), (7, 1.0)]
    assert one.mean_curves()[0] == pytest.approx([0.2, 0.3])
    assert len(one.runs) == 4


def test_rows_may_come_in_any_order():
    made = rows(THREE)
    (ordered,), _ = gather(found(made))
    (shuffled,), _ = gather(found(made[::-1]))
    assert shuffled.mean_curves().tolist() == ordered.mean_curves().tolist()


def test_exact_repeats_are_dropped_with_a_warning():
    made = rows(THREE)
    again = [made[0]._replace(seconds=9.0), made[3]]
    (one,), (warning,) = gather(found([*made, *again]))
    assert one.mean_curves().tolist() == list(THREE.values())
    assert warning == "2 rows repeat others exactly and are dropped: of a, b"


def test_two_results_for_one_epoch_are_refused():
    made = rows(THREE)
    other = made[0]._replace(validation_accuracy=0.9)
    refuse([*made, other], "a, seed 0", "two results for epoch 1", "keep one run")


def test_mixed_schedules_are_refused_by_name():
    made = rows(THREE) + rows({"d": [0.1, 0.2, 0.3]})
    refuse(made, "differ in epochs: 2 (a, b, c); 3 (d)", "short schedules anneal first")


@pytest.mark.parametrize("name", ["train_images", "validation_images"])
def test_sets_of_unlike_size_under_one_id_are_refused(name):
    refuse(rows(THREE) + rows({"d": [0.1, 0.2]}, **{name: 7}), name, "7 (d)")


def test_missing_epochs_are_refused():
    made = [row for row in rows({"a": [0.1] * 5}) if row.epoch not in {2, 4}]
    refuse(made, "a, seed 0, learning rate 0.1 lacks epoch 2, 4")


def test_what_is_not_finished_is_refused():
    made = rows({"a": [0.1, 0.2]}, epochs=9)
    refuse(made, "is not finished: 2 of 9 epochs", "go on with its training")


@pytest.mark.real
def test_the_published_schedules_are_refused_together(real_data):
    path = real_data / "accuracies/ffcv-resnet50-curves.csv"
    accuracy: dict[str, dict[int, float]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            own = accuracy.setdefault(row["model"], {})
            own[int(row["epoch"])] = float(row["top_1"])
    names = list(accuracy)
    assert len(names) == 6
    taus = [_tau_with_last(accuracy, epoch) for epoch in (5, 10, 15, 16)]
    assert taus == pytest.approx([-0.07, -0.73, -0.73, -0.87], abs=0.005)
    curves = {n: [own[e] for e in sorted(own)] for n, own in accuracy.items()}
    refuse(making_curves.rows(curves), "differ in epochs: 16 (", "88 (")


def _tau_with_last(accuracy, epoch):

    last = np.array([own[max(own)] for own in accuracy.values()])
    now = np.array([own[epoch] for own in accuracy.values()])
    return ranking.kendall_tau(now, last)


def test_models_with_as_many_right_images_tie_whatever_their_seeds_order():
    counts = {"a": [409, 411, 406], "b": [406, 409, 411], "c": [411, 406, 410]}
    made = []
    for seed in range(3):
        accuracies = {model: [n[seed] / 1000] * 2 for model, n in counts.items()}
        made += rows(accuracies, seed=seed, validation_images=1000)
    (one,), _ = gather(found(made))
    means = dict(zip(one.models, one.mean_curves()[:, -1], strict=True))
    assert means["a"] == means["b"] == 1226 / 3000
    assert means["c"] == 1227 / 3000
