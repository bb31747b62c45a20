import dataclasses

import numpy as np
import pytest

from tests import making_curves, making_predictions
from transforms.evaluation import significance
from transforms.evaluation.by_curves import find_right_images
from transforms.evaluation.curves import gather, read_rows

WNIDS = ["n01440764+n01443537", "n01484850"]  # a group of two classes, and one of one
KEYS = [f"image{number:02d}" for number in range(40)]
TRUTH = ["n01440764", "n01443537", "n01484850", "n01484850"] * 10


def write_run(
    folder, model, right, *, seed=0, keys=KEYS, final=None, subset_id="", images=40
):
    """Write a run whose model is right on some images, as `pipelines.train` does."""
    place = folder / model / f"seed{seed}"
    accuracy = sum(right) / len(right) if final is None else final
    made = making_curves.rows(
        {model: [0.1, accuracy]}, validation_images=images, seed=seed
    )
    making_curves.write(place / "curves.csv", made)
    scored = dataclasses.replace(
        making_predictions.scored(WNIDS, model), trained_on_subset_id=subset_id
    )
    labels = [int(wnid == WNIDS[1]) for wnid in TRUTH]
    answers = [
        label if ok else 1 - label for label, ok in zip(labels, right, strict=True)
    ]
    table = making_predictions.rows(scored, keys, TRUTH, np.eye(2)[answers])
    making_predictions.write(place / "predictions.parquet", [scored], table)


def read(folder):
    (one,), _ = gather(read_rows([str(folder)]))
    return one, find_right_images(one)


def draw(seed, share=0.6):
    return np.random.default_rng(seed).random(len(KEYS)) < share


def test_answers_of_groups_are_right_where_the_group_is(tmp_path):
    right = {name: draw(number) for number, name in enumerate("abc")}
    for name, own in right.items():
        write_run(tmp_path, name, own)
    one, found = read(tmp_path)
    assert found.notes == ()
    assert found.shares.tolist() == [own.tolist() for own in right.values()]
    accuracies = one.mean_curves()[:, -1]
    tests = significance.decide_pairs_pairs(accuracies, len(KEYS), shares=found.shares)
    expected = significance.decide_pairs_deciding(np.stack(list(right.values())))
    assert tests.decisions.tolist() == expected.tolist()


def test_images_may_stand_in_another_order(tmp_path):
    right = draw(0)
    write_run(tmp_path, "a", right)
    write_run(tmp_path, "b", right, keys=KEYS[::-1])
    _, found = read(tmp_path)
    assert found.shares.tolist() == [right.tolist(), right[::-1].tolist()]


def test_seeds_are_averaged_image_by_image(tmp_path):
    first, second = draw(0), draw(1)
    write_run(tmp_path, "a", first)
    write_run(tmp_path, "a", second, seed=1)
    _, found = read(tmp_path)
    assert found.shares.tolist() == [((first * 1 + second) / 2).tolist()]


def test_without_any_predictions_nothing_is_said(tmp_path):
    made = making_curves.rows({"a": [0.5], "b": [0.6]})
    making_curves.write(tmp_path / "curves.csv", made)
    _, found = read(tmp_path)
    assert found == (None, ())


def test_a_run_without_predictions_is_named(tmp_path):
    write_run(tmp_path, "a", draw(0))
    write_run(tmp_path, "b", draw(1))
    (tmp_path / "b/seed0/predictions.parquet").unlink()
    _, found = read(tmp_path)
    assert found.shares is None
    (note,) = found.notes
    assert "beside the curves of b, seed 0, so that pairs are compared by" in note


def spoil(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final": 0.95}, "is of another run"),
        ({"keys": [f"other{number}" for number in range(40)]}, "other images"),
        ({"keys": ["image00"] * 40}, "images twice"),
        ({"subset_id": "another"}, "is of a model trained on another"),
    ],
    ids=["another run", "other images", "repeated", "other set"],
)
def test_predictions_that_do_not_fit_are_not_used(tmp_path, change, words):
    write_run(tmp_path, "a", draw(0))
    write_run(tmp_path, "b", draw(1), **change)
    _, found = read(tmp_path)
    assert found.shares is None
    (note,) = found.notes
    assert "b/seed0/predictions.parquet" in note
    assert words in note


def test_predictions_of_another_number_of_images_are_not_used(tmp_path):
    write_run(tmp_path, "a", draw(0), images=50)
    _, found = read(tmp_path)
    assert "has 40 images, the curves 50" in found.notes[0]


def test_damaged_predictions_are_not_used(tmp_path):
    write_run(tmp_path, "a", draw(0))
    spoil(tmp_path / "a/seed0/predictions.parquet")
    _, found = read(tmp_path)
    assert found.shares is None
    assert "predictions" in found.notes[0]
