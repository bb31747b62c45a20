import dataclasses
import math

import numpy as np
import pytest

from tests import making_curves, making_logs, making_predictions
from tests.making_curves import SUBSET_ID, rows
from transforms.evaluation import convergence
from transforms.evaluation.by_curves import evaluate_curves, read_correctness
from transforms.evaluation.curves import group_by_set, read_rows
from transforms.evaluation.log_sets import LogSettings
from transforms.evaluation.significance import compare_all_pairs
from transforms.evaluation.training_logs import ANY_COLUMNS, LogColumns
from transforms.records import UsageError

# Six models, best first, of which a passes the others with epoch 3 on the full set, and
# with epoch 2 on the subset.
NAMES = "abcdef"
FINAL = {name: 0.9 - 0.05 * number for number, name in enumerate(NAMES)}
SLOW = {name: [end - 0.3, end - 0.2, end - 0.1, end] for name, end in FINAL.items()}
FULL = SLOW | {"a": [0.1, 0.2, 0.76, 0.9]}
SUBSET = SLOW | {"a": [0.1, 0.71, 0.81, 0.9]}

WNIDS = ["n01440764+n01443537", "n01484850"]  # a group of two classes, and one of one
KEYS = [f"image{number:02d}" for number in range(40)]
TRUTH = ["n01440764", "n01443537", "n01484850", "n01484850"] * 10


def evaluate(tmp_path, full, *subsets, **same):
    one = making_curves.write(tmp_path / "full.csv", full)
    made = [row for subset in subsets for row in subset]
    other = making_curves.write(tmp_path / "subset.csv", made)
    return evaluate_curves([one], [other], seed=0, **same)


def small(curves, subset_id=SUBSET_ID, **settings):
    return rows(curves, subset_id=subset_id, train_images=100, **settings)


def test_subset_that_keeps_ranks_and_converges_sooner_has_value(tmp_path):
    found = evaluate(tmp_path, rows(FULL), small(SUBSET))
    (subset,) = found.subsets
    assert found.full.convergence.convergence_epoch == 3
    assert subset.convergence.convergence_epoch == 2
    assert subset.verdict.value == "useful"
    assert subset.verdict.gain == 3 * 1000 / (2 * 100)
    assert subset.verdict.gain_interval == (2 * 1000 / (2 * 100), 3 * 1000 / 100)
    assert subset.ceiling.least_kept == 1
    assert subset.ranks.tau == 1
    assert subset.pairs.sign_agreement == subset.pairs.resolving_power == 1


def test_subset_that_reverses_a_pair_has_none(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    full = rows(FULL) + rows(FULL, seed=1)
    several = small(turned) + small(turned, seed=1)
    (subset,) = evaluate(tmp_path, full, several).subsets
    assert subset.verdict.value == "not useful"
    assert subset.pairs.reversed == ((0, 1),)
    assert subset.convergence.convergence_epoch is None
    (one_seed,) = evaluate(tmp_path, rows(FULL), several).subsets
    assert one_seed.verdict.value == "inconclusive"
    assert subset.ranks.regret == pytest.approx(0.05)


def test_insignificant_reversal_cannot_be_told(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    few = small(turned, validation_images=100)
    (subset,) = evaluate(tmp_path, rows(FULL), few).subsets
    assert subset.verdict.value == "inconclusive"
    assert "more validation images" in subset.verdict.reason


def test_seeds_that_differ_much_leave_a_pair_undecided(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    made = []
    for seed, shift in enumerate((-0.1, 0.1)):
        moved = {n: [x + shift for x in own] for n, own in turned.items()}
        made += small(moved, seed=seed)
    compared = evaluate(tmp_path, rows(FULL), made)
    (subset,) = compared.subsets
    assert subset.noise.variance == pytest.approx(0.02)
    assert subset.verdict.value == "inconclusive"
    assert subset.pairs.significant_full == 0  # the full set has one seed
    assert any(
        f"between seeds as those of {subset.curve_set.name}" in warning
        for warning in compared.warnings
    )


def test_models_that_are_always_far_apart_are_not_strict_enough(tmp_path):
    (subset,) = evaluate(tmp_path, rows(SLOW), small(SLOW)).subsets
    assert subset.convergence.convergence_epoch == 1
    assert subset.verdict.value == "inconclusive"
    assert "converges in the first epoch" in subset.verdict.reason


def test_models_of_which_none_differs_are_not_strict_enough(tmp_path):
    same = dict.fromkeys(NAMES, SLOW["a"])
    found = evaluate(tmp_path, rows(same), small(SUBSET))
    assert found.full.convergence.convergence_epoch is None
    assert "no pair of models differs significantly" in found.subsets[0].verdict.reason
    assert found.subsets[0].ranks.tau is None


def test_subsets_are_distinguished_by_their_ids(tmp_path):
    found = evaluate(tmp_path, rows(FULL), small(SUBSET), small(FULL, "other"))
    assert [s.curve_set.subset_id for s in found.subsets] == [SUBSET_ID, "other"]
    assert [s.convergence.convergence_epoch for s in found.subsets] == [2, 3]


def test_schedules_of_both_sets_may_differ(tmp_path):
    short = {name: own[1:] for name, own in SUBSET.items()}
    (subset,) = evaluate(tmp_path, rows(FULL), small(short)).subsets
    assert subset.verdict.value == "useful"
    assert subset.convergence.images_seen == 100
    assert subset.verdict.gain_interval.high == math.inf


def test_models_missing_from_a_set_are_left_out_and_named(tmp_path):
    found = evaluate(
        tmp_path, rows(FULL | {"x": SLOW["b"]}), small(SUBSET | {"y": SLOW["c"]})
    )
    assert found.full.models == tuple(NAMES)
    assert any("x left out" in warning for warning in found.warnings)
    assert any("y left out" in warning for warning in found.warnings)


def test_fewer_than_six_models_are_a_warning(tmp_path):
    few = {name: FULL[name] for name in "abc"}
    found = evaluate(tmp_path, rows(few), small(SUBSET))
    assert any("3 models are few" in warning for warning in found.warnings)


def test_order_of_only_the_last_epoch_is_a_warning(tmp_path):
    late = FULL | {"a": [0.1, 0.2, 0.3, 0.9]}
    (warning,) = evaluate(tmp_path, rows(late), small(SUBSET)).warnings
    assert "full ffffffff: the ranking converges in the last epoch only" in warning


def test_gains_are_compared_over_the_same_share_of_the_same_pairs(tmp_path):
    few = small(SUBSET, validation_images=200)
    found = evaluate(tmp_path, rows(FULL), few)
    (subset,) = found.subsets
    assert subset.tests.num_significant < found.full.tests.num_significant
    assert 0.5 < subset.ceiling.least_kept < 1
    for curves, measured in (
        (found.full.curves, subset.full_convergence),
        (subset.curves, subset.convergence),
    ):
        epoch = convergence.find_convergence_epoch(
            curves, found.full.tests.decisions, share=subset.ceiling.least_kept
        )
        assert measured.convergence_epoch == epoch


def test_perfect_subsets_rarely_have_none(tmp_path):
    """Without correction for many pairs, most small validation sets reverse some."""
    rng = np.random.default_rng(0)
    truth = np.linspace(0.6, 0.8, 16)
    values = []
    for _ in range(20):
        sets = []
        for images, settings in (
            (20_000, {}),
            (500, {"subset_id": SUBSET_ID, "train_images": 100}),
        ):
            made = []
            for seed in (0, 1):
                finals = rng.binomial(images, truth + rng.normal(0, 0.004, 16)) / images
                curves = {f"m{n:02}": [0.5, f] for n, f in enumerate(finals.tolist())}
                made += rows(curves, validation_images=images, seed=seed, **settings)
            sets.append(made)
        (subset,) = evaluate(tmp_path, *sets).subsets
        values.append(subset.verdict.value)
    assert values.count("not useful") <= 1


@pytest.mark.parametrize(
    ("full", "subset", "words"),
    [
        (rows(FULL), rows(SUBSET), "is the full set itself"),
        (
            rows(FULL) + rows(FULL, subset_id="x"),
            small(SUBSET),
            "--full: contains curves of 2",
        ),
        (
            rows({n: FULL[n] for n in "ab"}),
            small(SUBSET),
            "2 models.*a, b; a ranking needs 3",
        ),
        (rows(FULL), small({"x": SLOW["a"]}), "0 models are trained on all sets; a"),
        (rows(FULL, epochs=9), small(SUBSET), "--full set f.*is not finished"),
    ],
    ids=["same set", "two full sets", "two models", "no model", "unfinished"],
)
def test_incomparable_sets_are_rejected(tmp_path, full, subset, words):
    with pytest.raises(UsageError, match=words):
        evaluate(tmp_path, full, subset)


def test_problems_of_both_sets_are_named_at_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        evaluate(tmp_path, rows(FULL, epochs=9), small(SUBSET, epochs=9))
    lines = str(caught.value).splitlines()
    assert {line.split()[0] for line in lines} == {"--full", "--subset"}


def write_run(
    folder, model, right, *, seed=0, keys=KEYS, final=None, subset_id="", images=40
):
    """Write a run whose model is correct on some images, as `pipelines.train` does."""
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
    (one,), _ = group_by_set(read_rows([str(folder)]))
    return one, read_correctness(one)


def draw(seed, share=0.6):
    return np.random.default_rng(seed).random(len(KEYS)) < share


def test_group_predictions_are_correct_if_the_group_is(tmp_path):
    right = {name: draw(number) for number, name in enumerate("abc")}
    for name, own in right.items():
        write_run(tmp_path, name, own)
    one, found = read(tmp_path)
    assert found.notes == ()
    assert found.shares.tolist() == [own.tolist() for own in right.values()]
    accuracies = one.mean_curves()[:, -1]
    tests = compare_all_pairs(accuracies, len(KEYS), correctness=found.shares)
    own = np.stack(list(right.values()))
    expected = compare_all_pairs(own.mean(axis=1), len(KEYS), correctness=own)
    assert tests.decisions.tolist() == expected.decisions.tolist()


def test_order_of_images_is_irrelevant(tmp_path):
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


def test_absent_predictions_give_no_warning(tmp_path):
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
    assert "beside the curves of b, seed 0; pairs are compared by accuracy" in note


def spoil(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final": 0.95}, "is of another run"),
        ({"keys": [f"other{number}" for number in range(40)]}, "other images"),
        ({"keys": ["image00"] * 40}, "repeated or missing keys"),
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


@pytest.mark.parametrize(
    ("name", "make", "columns"),
    [
        ("version_0/metrics.csv", making_logs.lightning, ANY_COLUMNS),
        ("training.log", making_logs.keras, ANY_COLUMNS),
        ("trainer_state.json", making_logs.huggingface, ANY_COLUMNS),
        ("results.csv", making_logs.columns, LogColumns("Epoch", "Test Acc")),
    ],
)
def test_logs_give_the_evaluation_of_equal_curves(tmp_path, name, make, columns):
    accuracies = {f"net{n}": [0.3 + n / 20, 0.8 - n / 20] for n in range(6)}
    paths: dict[str, list[str]] = {"logs": [], "curves": []}
    for which, subset_id, size in (("full", "f" * 64, 1000), ("small", "a" * 64, 100)):
        logs = {f"{model}/{name}": make(accuracies[model]) for model in accuracies}
        paths["logs"].append(making_logs.write(tmp_path / which, logs))
        sizes = {"train_images": size, "validation_images": 2000}
        made = making_curves.rows(accuracies, subset_id=subset_id, **sizes)
        path = tmp_path / f"{which}_curves/curves.csv"
        paths["curves"].append(making_curves.write(path, made))
    settings = LogSettings(
        columns=columns, train_images=(1000, 100), validation_images=(2000,)
    )
    full, subset = paths["logs"]
    of_logs = evaluate_curves([full], [subset], logs=settings, seed=0)
    full, subset = paths["curves"]
    of_curves = evaluate_curves([full], [subset], seed=0)
    with pytest.raises(
        UsageError, match="--train_images: applies only with training logs"
    ):
        evaluate_curves([full], [subset], logs=settings, seed=0)
    for one, other in (
        (of_logs.full, of_curves.full),
        (of_logs.subsets[0], of_curves.subsets[0]),
    ):
        assert one.models == other.models
        assert one.curves.tolist() == other.curves.tolist()
        assert one.convergence.images_seen == other.convergence.images_seen
    assert of_logs.subsets[0].verdict == of_curves.subsets[0].verdict
