from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import making_chosen, making_predictions
from transforms import seeds
from transforms.confusion import counts as confusion_counts
from transforms.confusion.counts import (
    UNITS,
    ConfusionCounts,
    CountPlan,
    Cutoff,
    PredictionPart,
    find_cutoffs,
)
from transforms.labels.classes import load_classes
from transforms.predictions.reading import Batch
from transforms.records import UsageError
from transforms.sampling import selected

WNIDS = tuple(info.wnid for info in load_classes()[:8])
TRUE = np.array([0, 0, 0, 1, 1, 2])
TOP = np.array([np.roll(np.arange(5), shift) for shift in (0, 1, 0, 4, 0, 2)])
KEYS = list("abcdef")


def _batch(outputs=WNIDS, top5=TOP, probabilities=None):
    if probabilities is not None:
        probabilities = np.array(probabilities, np.float16)
        top5 = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    return Batch(
        model="cnn",
        outputs=outputs,
        keys=KEYS,
        wnids=[WNIDS[true] for true in TRUE],
        top5=top5,
        probabilities=probabilities,
    )


def _plan(wnids=WNIDS, *, is_soft=False, seed=0):
    cutoffs = find_cutoffs(KEYS, TRUE, seed=seed)
    spare = [Cutoff(0, "")] * (len(wnids) - len(cutoffs))
    return CountPlan(wnids, (*cutoffs, *spare), seed, is_soft, models=("mlp", "cnn"))


def _count(batch, plan):
    counts = ConfusionCounts.empty(len(plan.wnids), len(plan.models))
    confusion_counts.add_batch(batch, plan, counts)
    return counts, *counts.to_confusions(plan, ["cnn"])


def test_hard_counts():
    _, whole, _, _ = _count(_batch(), _plan())
    assert whole.matrix[0, :5].tolist() == [2, 0, 0, 0, 1]
    assert whole.matrix[1, :5].tolist() == [1, 1, 0, 0, 0]
    assert whole.matrix[2, :5].tolist() == [0, 0, 0, 1, 0]
    assert whole.num_images[:5].tolist() == [3, 2, 1, 0, 0]
    assert whole.models == ("cnn",)


@pytest.mark.parametrize("is_soft", [False, True])
def test_accuracy_of_each_model_is_counted(is_soft):
    counts, *_ = _count(_batch(), _plan(is_soft=is_soft))
    assert counts.accuracy.tolist() == [[0, 0], [6, 3]]


def test_soft_counts_halve_from_rank_to_rank():
    _, whole, _, _ = _count(_batch(), _plan(is_soft=True))
    np.testing.assert_allclose(whole.matrix.sum(axis=1), whole.num_images)
    assert whole.matrix[2][TOP[5]].tolist() == [n / 31 for n in (16, 8, 4, 2, 1)]


def test_soft_counts_are_means_of_stored_probabilities():
    rng = np.random.default_rng(0)
    softmax = rng.dirichlet(np.ones(8), len(TRUE)).astype(np.float16)
    _, whole, a, b = _count(_batch(probabilities=softmax), _plan(is_soft=True))
    for number in range(3):
        expected = softmax[number == TRUE].astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(whole.matrix[number], expected, rtol=1e-3)
    np.testing.assert_allclose(a.matrix + b.matrix, whole.matrix, rtol=1e-15)
    assert (whole.matrix.sum(axis=1) <= whole.num_images).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 0x3C00), min_size=1, max_size=300))
def test_probabilities_are_distributed_exactly(bits):
    """Every float16 from 0 to 1, subnormal ones included."""
    row = np.array([bits], np.uint16).view(np.float16)
    (units,) = confusion_counts.share_out(row).tolist()
    exact = [Fraction(float(p)) for p in row[0]]
    total = max(Fraction(1), sum(exact))
    assert sum(units) <= UNITS
    assert units == [int(p / total * UNITS) for p in exact]


@pytest.mark.parametrize("is_soft", [False, True], ids=["hard", "soft"])
def test_halves_add_up_to_the_whole(is_soft):
    _, whole, a, b = _count(_batch(), _plan(is_soft=is_soft))
    np.testing.assert_allclose(a.matrix + b.matrix, whole.matrix)
    assert (a.num_images + b.num_images == whole.num_images).all()
    assert a.num_images[:5].tolist() == [2, 1, 1, 0, 0]


def test_halves_are_the_folds_of_a_build():
    keys = sorted(f"n{number:05d}_{number}" for number in range(101))
    true = np.arange(101) % 3
    plan = CountPlan(WNIDS[:3], find_cutoffs(keys, true, seed=3), 3, is_soft=False)
    half = plan.halve(keys, true)
    for label, count in Counter(true.tolist()).items():
        own = [key for key, t in zip(keys, true, strict=True) if t == label]
        halved = selected.assign_folds(making_chosen.make(own), num_folds=2, seed=3)
        is_first = pc.equal(halved["subset_split"], "fold_a")
        in_a = {keys[row] for row in np.flatnonzero((true == label) & (half == 0))}
        assert in_a == set(halved["key"].filter(is_first).to_pylist())
        assert len(in_a) == -(-count // 2)


def test_equal_hashes_are_halved_by_key(monkeypatch):
    monkeypatch.setattr(
        seeds, "orders", lambda _seed, _purpose, keys: np.zeros(len(keys), np.int64)
    )
    plan = _plan()
    assert plan.halve(KEYS, TRUE).tolist() == [0, 0, 1, 0, 1, 0]


def test_model_of_more_classes_counts_its_likeliest_known_class():
    plan = _plan(WNIDS[:3])
    top5 = np.array([
        [0, 3, 4, 5, 6],  # of the three, at once
        [7, 6, 1, 2, 0],  # of the three, the first below two others
        [7, 6, 5, 4, 3],  # of others only
        *[[1, 2, 3, 4, 5]] * 3,
    ])
    counts, whole, _, _ = _count(_batch(top5=top5), plan)
    assert whole.matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert whole.num_images.tolist() == [3, 2, 1]
    assert counts.num_undecided == 1


def test_probabilities_decide_if_no_top5_class_is_known():
    known = [0.01, 0.02, 0, 0.1, 0.17, 0.2, 0.2, 0.3]
    unknown = [0, 0, 0, 0.1, 0.2, 0.2, 0.2, 0.3]
    sure = [0.3, 0, 0, 0.2, 0.2, 0.1, 0.1, 0.1]
    batch = _batch(probabilities=[known, unknown, *[sure] * 4])
    counts, whole, _, _ = _count(batch, _plan(WNIDS[:3]))
    assert whole.matrix.tolist() == [[1, 1, 0], [2, 0, 0], [1, 0, 0]]
    assert counts.num_undecided == 1


@pytest.mark.parametrize("keep", [False, True], ids=["by_rank", "by_probabilities"])
def test_other_classes_are_not_counted(keep):
    softmax = np.tile([0.5, 0, 0, 0.25, 0.25, 0, 0, 0], (6, 1))
    batch = _batch(probabilities=softmax) if keep else _batch(top5=TOP * 0 + range(5))
    _, whole, _, _ = _count(batch, _plan(WNIDS[:3], is_soft=True))
    share = 0.5 if keep else 28 / 31
    np.testing.assert_allclose(whole.matrix.sum(axis=1), share * whole.num_images)


def test_model_of_fewer_classes_never_predicts_the_others():
    batch = _batch(outputs=(WNIDS[2], WNIDS[0]), top5=np.tile([0, 1], (6, 1)))
    _, whole, _, _ = _count(batch, _plan(WNIDS[:3]))
    assert whole.matrix.tolist() == [[0, 0, 3], [0, 0, 2], [0, 0, 1]]


def _write(tmp_path, probabilities):
    model = making_predictions.scored(WNIDS)
    wnids = [WNIDS[true] for true in TRUE]
    table = making_predictions.rows(model, KEYS, wnids, probabilities, keep=True)
    return making_predictions.write(tmp_path / "p.parquet", [model], table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.9, -0.1, 0.2, 0, 0, 0, 0, 0], "probabilities of image c is not 0 to 1"),
        ([np.nan, 1, 0, 0, 0, 0, 0, 0], "probabilities of image c is not 0 to 1"),
        ([0.5] * 8, "the sum of probabilities of image c is not 1"),
        ([0] * 8, "the sum of probabilities of image c is not 1"),
    ],
    ids=["negative", "nan", "too_much", "nothing"],
)
def test_probabilities_are_checked_where_they_are_counted(tmp_path, row, message):
    probabilities = np.full((6, 8), 1 / 8)
    probabilities[2] = row
    path = _write(tmp_path, probabilities)
    confusion_counts.count(
        [PredictionPart(path, 0)], _plan()
    )  # hard counts ignore them
    with pytest.raises(UsageError) as caught:
        confusion_counts.count([PredictionPart(path, 0)], _plan(is_soft=True))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_models_given_twice_are_one_problem(tmp_path):
    models = [making_predictions.scored(WNIDS, f"m{n}", f"{n}") for n in range(5)]
    wnids = [WNIDS[true] for true in TRUE]
    table = [
        making_predictions.rows(model, KEYS, wnids, np.full((6, 8), 1 / 8))
        for model in models
    ]
    paths = [
        making_predictions.write(tmp_path / name, models, *table)
        for name in ("a.parquet", "b.parquet")
    ]
    with pytest.raises(UsageError) as caught:
        confusion_counts.survey(paths, seed=0)
    assert str(caught.value) == (
        f"--predictions {paths[1]}: {paths[0]} also has predictions of m0, for 6 of "
        "the same images; rename the file, or give only one; other models also have "
        "several predictions of an image: m1, m2, m3, m4"
    )
