import pytest

from tests import making_curves
from tests.making_curves import SUBSET_ID, rows
from transforms.evaluation.by_curves import evaluate_curves
from transforms.records import UsageError

# Six models, best first, of which a passes the others with epoch 3 on the full set, and
# with epoch 2 on the subset.
NAMES = "abcdef"
FINAL = {name: 0.9 - 0.05 * number for number, name in enumerate(NAMES)}
SLOW = {name: [end - 0.3, end - 0.2, end - 0.1, end] for name, end in FINAL.items()}
FULL = SLOW | {"a": [0.1, 0.2, 0.76, 0.9]}
SUBSET = SLOW | {"a": [0.1, 0.71, 0.81, 0.9]}


def evaluate(tmp_path, full, *subsets, **same):
    one = making_curves.write(tmp_path / "full.csv", full)
    made = [row for subset in subsets for row in subset]
    other = making_curves.write(tmp_path / "subset.csv", made)
    return evaluate_curves([one], [other], **same)


def small(curves, subset_id=SUBSET_ID, **settings):
    return rows(curves, subset_id=subset_id, train_images=100, **settings)


def test_a_subset_that_keeps_ranks_and_is_clear_sooner_has_value(tmp_path):
    found = evaluate(tmp_path, rows(FULL), small(SUBSET))
    (subset,) = found.subsets
    assert found.full.clearness.clear_epoch == 3
    assert subset.clearness.clear_epoch == subset.full_order_epoch == 2
    assert subset.verdict.value == "has value"
    assert subset.verdict.gain == 3 * 1000 / (2 * 100)
    assert subset.ranks.tau == 1
    assert subset.pairs.sign_agreement == subset.pairs.resolving_power == 1


def test_a_subset_that_turns_a_pair_round_has_none(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    (subset,) = evaluate(tmp_path, rows(FULL), small(turned)).subsets
    assert subset.verdict.value == "has none"
    assert subset.pairs.reversed == ((0, 1),)
    assert subset.full_order_epoch is None
    assert subset.ranks.regret == pytest.approx(0.05)


def test_what_few_validation_images_turn_round_cannot_be_told(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    few = small(turned, validation_images=100)
    (subset,) = evaluate(tmp_path, rows(FULL), few).subsets
    assert subset.verdict.value == "cannot be told"
    assert "a over b" in subset.verdict.reason


def test_seeds_that_differ_much_leave_a_pair_undecided(tmp_path):
    turned = SUBSET | {"a": SUBSET["b"], "b": SUBSET["a"]}
    made = []
    for seed, shift in enumerate((-0.1, 0.1)):
        moved = {n: [x + shift for x in own] for n, own in turned.items()}
        made += small(moved, seed=seed)
    (subset,) = evaluate(tmp_path, rows(FULL), made).subsets
    assert subset.noise.variance == pytest.approx(0.02)
    assert subset.verdict.value == "cannot be told"


def test_models_that_are_always_far_apart_are_not_strict_enough(tmp_path):
    (subset,) = evaluate(tmp_path, rows(SLOW), small(SLOW)).subsets
    assert subset.clearness.clear_epoch == 1
    assert subset.verdict.value == "cannot be told"
    assert "not strict enough" in subset.verdict.reason


def test_models_of_which_none_differs_are_not_strict_enough(tmp_path):
    same = dict.fromkeys(NAMES, SLOW["a"])
    found = evaluate(tmp_path, rows(same), small(SUBSET))
    assert found.full.clearness.clear_epoch is None
    assert "not strict enough: none of its 15 pairs" in found.subsets[0].verdict.reason
    assert found.subsets[0].ranks.tau is None


def test_several_subsets_are_told_apart_by_their_ids(tmp_path):
    found = evaluate(tmp_path, rows(FULL), small(SUBSET), small(FULL, "other"))
    assert [s.curve_set.subset_id for s in found.subsets] == [SUBSET_ID, "other"]
    assert [s.clearness.clear_epoch for s in found.subsets] == [2, 3]


def test_schedules_of_both_sets_may_differ(tmp_path):
    short = {name: own[1:] for name, own in SUBSET.items()}
    (subset,) = evaluate(tmp_path, rows(FULL), small(short)).subsets
    assert subset.verdict.value == "has value"
    assert subset.clearness.images_looped == 100


def test_models_that_not_all_sets_have_are_left_out_by_name(tmp_path):
    found = evaluate(
        tmp_path, rows(FULL | {"x": SLOW["b"]}), small(SUBSET | {"y": SLOW["c"]})
    )
    assert found.full.models == tuple(NAMES)
    assert any("x left out" in warning for warning in found.warnings)
    assert any("y left out" in warning for warning in found.warnings)


def test_fewer_than_six_models_are_warned_about(tmp_path):
    few = {name: FULL[name] for name in "abc"}
    found = evaluate(tmp_path, rows(few), small(SUBSET))
    assert any("3 models are few" in warning for warning in found.warnings)


def test_an_order_that_only_the_last_epoch_has_is_warned_about(tmp_path):
    late = FULL | {"a": [0.1, 0.2, 0.3, 0.9]}
    (warning,) = evaluate(tmp_path, rows(late), small(SUBSET)).warnings
    assert "full ffffffff: its order is clear with its last epoch only" in warning


def test_a_subset_clear_in_few_pairs_is_warned_about(tmp_path):
    few = small(SUBSET | {"a": [0.52, 0.71, 0.81, 0.9]}, validation_images=30)
    found = evaluate(tmp_path, rows(FULL), few)
    (subset,) = found.subsets
    assert subset.clearness.clear_epoch == 1 < subset.full_order_epoch == 2
    assert any("in all from epoch 2 on" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("full", "subset", "words"),
    [
        (rows(FULL), rows(SUBSET), "is the full set itself"),
        (
            rows(FULL) + rows(FULL, subset_id="x"),
            small(SUBSET),
            "--full: holds curves of 2",
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
def test_what_cannot_be_compared_is_refused(tmp_path, full, subset, words):
    with pytest.raises(UsageError, match=words):
        evaluate(tmp_path, full, subset)


def test_problems_of_both_sets_are_named_at_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        evaluate(tmp_path, rows(FULL, epochs=9), small(SUBSET, epochs=9))
    lines = str(caught.value).splitlines()
    assert {line.split()[0] for line in lines} == {"--full", "--subset"}
