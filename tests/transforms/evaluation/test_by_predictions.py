import csv

import numpy as np
import pytest

from transforms.evaluation import ranking
from transforms.evaluation.by_predictions import (
    advise,
    compare_groupings,
    evaluate_predictions,
    format_comparison,
    make_group_of,
    per_image_correctness,
    score_groups,
    warn_of_order,
)
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
    """Return predictions that are off by `wrong_by` for every `every`-th image."""
    first = TRUTH.copy()
    first[::every] = (first[::every] + wrong_by) % 40
    others = [(first + step) % 40 for step in (3, 7, 11)]
    return Predictions(name, np.stack([first, TRUTH, *others], axis=1), TRUTH)


MODELS = [model("good", 20, 13), model("fair", 1, 7), model("poor", 20, 3)]


def test_models_are_scored_over_classes_and_over_groups():
    found = evaluate_predictions(MODELS, {"pairs": PAIRS}, seed=0)
    (score,) = found.scores  # no class is left out: one way to answer
    assert found.models == ("good", "fair", "poor")
    expected = [1 - -(-4000 // every) / 4000 for every in (13, 7, 3)]
    assert found.full.accuracies == pytest.approx(expected)
    assert found.full.num_significant == 3
    assert not score.is_masked
    assert (score.num_images, score.shape.num_groups) == (4000, 500)
    assert score.ranks.num_models == 3
    assert score.num_right.tolist()[0] == round(4000 * expected[0])
    assert score.num_right.tolist()[1] > 4000 * expected[1]


def test_left_out_classes_are_scored_in_both_modes():
    some = np.where(np.arange(1000) < 20, np.arange(1000) // 2, -1)
    full, masked = evaluate_predictions(MODELS, {"some": some}, seed=0).scores
    assert (full.is_masked, masked.is_masked) == (False, True)
    assert full.num_images == masked.num_images == 2000
    assert (masked.num_right >= full.num_right).all()
    # wrong by 20 is a class that is left out, and the next of the five is right
    assert masked.tests.accuracies[0] == 1
    assert full.tests.accuracies[0] < 1
    assert full.undecided.tolist() == [0, 0, 0]


def test_too_many_undecided_images_are_a_warning():
    alone = np.where(np.arange(1000) == 0, 0, -1)
    alone[1] = 1
    blind = Predictions("blind", np.full((4000, 5), 30), TRUTH)
    found = evaluate_predictions([*MODELS, blind], {"two": alone}, seed=0)
    assert found.scores[1].undecided.tolist() == [0, 0, 0, 1]
    (warning,) = found.warnings
    assert warning.startswith("two, own classes only: 1 of 4 models")
    assert warning.count("(most blind, 100.0%)") == 1


def test_needed_images_grow_with_the_share_of_pairs():
    (score,) = evaluate_predictions(MODELS, {"pairs": PAIRS}, seed=0).scores
    assert list(score.needed) == [0.5, 0.8, 0.9, 0.95]
    known = [images for images in score.needed.values() if images is not None]
    assert known == sorted(known)


def test_two_models_are_too_few():
    with pytest.raises(UsageError, match="2 models; a ranking needs 3"):
        evaluate_predictions(MODELS[:2], {"pairs": PAIRS}, seed=0)


def test_groups_without_images_are_refused_by_name():
    nowhere = np.where(np.arange(1000) > 900, 0, -1)
    with pytest.raises(UsageError, match="--groups far: good: the groups contain none"):
        evaluate_predictions(MODELS, {"far": nowhere}, seed=0)


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
        read_predictions(paths),
        {"curated": make_group_of(table.label_of)},
        seed=0,
    )
    (score,) = found.scores
    assert score.num_images == len(official_images()[0]) == 50_000
    assert score.num_right.tolist()[:2] == [42_322, 36_726]


def test_both_jobs_report_the_figures_of_one_score():
    some = np.where(np.arange(1000) < 20, np.arange(1000) // 2, -1)
    evaluation = evaluate_predictions(MODELS, {"some": some}, seed=5)
    full, rows = compare_groupings(MODELS, {"some": some}, seed=5)
    assert full.decisions.tolist() == evaluation.full.decisions.tolist()
    counted = TRUTH < 20
    same = np.array([per_image_correctness(m)[counted].mean() for m in MODELS])
    for row, other in zip(rows, evaluation.scores, strict=True):
        score = row.score
        assert score.is_masked == other.is_masked
        assert (score.shape, score.ranks) == (other.shape, other.ranks)
        assert (score.pairs, score.needed) == (other.pairs, other.needed)
        assert score.halves == other.halves
        grouped = [score_groups(m, some, masked=score.is_masked) for m in MODELS]
        accuracies = np.array([model.grouped_accuracy for model in grouped])
        assert score.tau_same_images == ranking.kendall_tau(same, accuracies)
        right = [
            (model.correct.sum() + model.num_undecided) / model.num_images
            for model in grouped
        ]
        bound = ranking.kendall_tau(full.accuracies, np.array(right))
        assert score.tau_if_right == (bound if score.is_masked else None)


def predict(*rows):
    """Create predictions from rows (true class, five likeliest classes)."""
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
    full = score_groups(IMAGES, GROUPS, masked=False)
    assert full.counted.tolist() == [True] * 5 + [False]
    assert full.correct.tolist() == [True, True, False, False, False]
    assert (full.num_images, full.num_undecided) == (5, 0)
    assert full.grouped_accuracy == 2 / 5


def test_masked_argmax_takes_the_first_class_that_is_in_a_group():
    masked = score_groups(IMAGES, GROUPS, masked=True)
    assert masked.counted.tolist() == [True] * 5 + [False]
    assert masked.correct.tolist() == [True, True, False, True, False]
    assert masked.num_undecided == 1
    assert masked.grouped_accuracy == 3 / 5
    assert masked.undecided_share == 1 / 5


def test_masking_changes_nothing_where_no_class_is_left_out():
    whole = np.arange(1000) % 3
    full, masked = (score_groups(IMAGES, whole, masked=m) for m in (False, True))
    assert full.correct.tolist() == masked.correct.tolist()
    assert masked.num_undecided == 0


def test_every_class_its_own_group_is_top1_accuracy():
    alone = score_groups(IMAGES, np.arange(1000), masked=False)
    assert alone.correct.tolist() == per_image_correctness(IMAGES).tolist()
    assert alone.correct.tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("masked", [False, True], ids=["full", "masked"])
def test_score_agrees_with_a_loop(masked):
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
    result = score_groups(images, group_of, masked=masked)
    assert result.correct.tolist() == expected
    assert result.num_undecided == num_undecided


def test_grouping_without_any_of_the_images_is_an_error():
    with pytest.raises(UsageError, match="model: the groups contain none"):
        score_groups(IMAGES, group((700, 701)), masked=True)


def test_group_of_must_have_a_group_for_each_class():
    with pytest.raises(ValueError, match=r"shape \(999,\), not \(1000,\)"):
        score_groups(IMAGES, np.zeros(999, int), masked=False)


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
    assert int(score_groups(one, group_of, masked=False).correct.sum()) == num_right
    assert int(score_groups(one, group_of, masked=True).correct.sum()) == num_right


COMPARED_CLASSES = np.arange(1000)
COMPARED_TRUTH = np.arange(2000) % 100
ALL = np.arange(1000)
TENS = np.arange(1000) // 10
LOW_HALF = np.where(np.arange(1000) < 50, np.arange(1000) // 10, -1)


def make_model(name, num_right, step=1):
    """Predict the first images correctly, and the others `step` classes above."""
    top1 = np.where(
        np.arange(len(COMPARED_TRUTH)) < num_right,
        COMPARED_TRUTH,
        COMPARED_TRUTH + step,
    )
    others = np.arange(900, 904)
    top5 = np.column_stack([top1, np.tile(others, (len(COMPARED_TRUTH), 1))])
    return Predictions(name, top5, COMPARED_TRUTH)


COMPARED = [make_model("a", 500), make_model("b", 1000), make_model("c", 1500)]


class Forgiving:
    def captured(self, labels):
        return float((labels >= 0).mean())


NO_MATRIX = "captured is `-` without a confusion matrix; give --confusion FILE"


def find_masked(tables):
    _, rows = compare_groupings(COMPARED, tables, seed=0)
    (row,) = (row for row in rows if row.score.is_masked)
    return row


def test_every_class_its_own_group_ranks_as_the_classes_do():
    _, (row,) = compare_groupings(COMPARED, {"all": ALL}, seed=0)
    score = row.score
    assert score.shape == (1000, 1000, 1, 1, 1, 1000)
    assert score.num_images == 2000
    assert score.tau_same_images == score.ranks.tau == 1
    assert score.pairs.resolving_power == 1
    assert score.tau_same_images_interval.high == 1
    assert score.halves.taus == score.halves.ceilings
    assert score.tau_balanced == 1
    assert (score.ranks.regret, score.undecided.mean()) == (0, 0)
    assert (row.captured, row.notes) == (None, (NO_MATRIX,))


def test_groups_that_forgive_a_models_errors_change_the_order():
    """Errors ten classes away stay errors, those one class away mostly do not."""
    models = [make_model("near", 500), make_model("far", 1000, step=10)]
    models.append(make_model("best", 1800))
    _, (row,) = compare_groupings(models, {"tens": TENS}, seed=0)
    assert row.score.tau_same_images == pytest.approx(1 / 3)
    assert row.score.pairs.resolving_power == pytest.approx(2 / 3)
    assert row.score.ranks.regret == 0


def test_sizes_and_effective_groups():
    uneven = np.full(1000, -1)
    uneven[:6], uneven[6:8], uneven[8] = 7, 3, 4
    _, (row, _) = compare_groupings(COMPARED, {"uneven": uneven}, seed=0)
    assert row.score.shape[:5] == (3, 9, 1, 2, 6)
    assert row.score.shape.effective_groups == pytest.approx(81 / (36 + 4 + 1))


def test_left_out_classes_are_scored_on_the_images_that_are_left():
    _, rows = compare_groupings(COMPARED, {"low": LOW_HALF}, seed=0)
    (row,) = (row for row in rows if not row.score.is_masked)
    assert row.score.num_images == 1000
    assert row.score.undecided.mean() == 0
    counted = np.array([0.25, 0.5, 0.75])
    groups = np.where(COMPARED_TRUTH < 50)[0]
    grouped = [
        (LOW_HALF[m.top5[groups, 0]] == LOW_HALF[COMPARED_TRUTH[groups]]).mean()
        for m in COMPARED
    ]
    tau = ranking.kendall_tau(counted, np.array(grouped))
    assert row.score.tau_same_images == tau


def test_undecided_images_are_counted_and_noted():
    """The class above 49 is left out, and so are the other four."""
    row = find_masked({"low": LOW_HALF})
    assert row.score.is_rankable
    shares = [15 / 1000, 10 / 1000, 5 / 1000]
    assert row.score.undecided.mean() == pytest.approx(np.mean(shares))
    assert row.notes == (NO_MATRIX,)
    row = find_masked({"narrow": np.where(np.arange(1000) < 20, 0, -1)})
    assert not row.score.is_rankable
    note, _ = row.notes
    assert "2 of 3 models have no grouped class" in note
    assert "more than 2% of the images" in note
    assert "(most a, 3.8%)" in note


def test_captured_errors_are_those_of_the_confusion_matrix():
    _, rows = compare_groupings(
        COMPARED,
        {"all": ALL, "low": LOW_HALF},
        confusion=Forgiving(),
        seed=0,
    )
    assert [row.captured for row in rows] == [1, 0.05, 0.05]


def test_rows_come_best_first_and_repeat_themselves():
    reverse = np.where(COMPARED_CLASSES < 20, 0, -1)
    tables = {"reverse": reverse, "tens": TENS, "all": ALL}
    _, rows = compare_groupings(COMPARED, tables, seed=3)
    assert [row.score.is_rankable for row in rows] == [True, True, True, False]
    taus = [row.score.ranks.tau for row in rows[:3]]
    assert taus == sorted(taus, reverse=True)
    _, again = compare_groupings(COMPARED, tables, seed=3)
    assert format_comparison(rows) == format_comparison(again)
    for row, other in zip(rows, again, strict=True):
        assert row.score.ranks == other.score.ranks
        interval = other.score.tau_same_images_interval
        assert row.score.tau_same_images_interval == interval


def test_few_models_are_noted():
    _, (row,) = compare_groupings(COMPARED[:2], {"all": ALL}, seed=0)
    score = row.score
    assert (score.tau_same_images, score.tau_same_images_interval) == (1, None)
    assert row.notes[0].startswith("2 of at least 3 models")
    _, (row,) = compare_groupings(COMPARED[:1], {"all": ALL}, seed=0)
    score = row.score
    assert (score.tau_same_images, score.pairs.resolving_power) == (None, None)
    assert len(row.notes) == 3


def test_models_that_tie_are_noted():
    _, (row,) = compare_groupings([COMPARED[0]] * 3, {"all": ALL}, seed=0)
    score = row.score
    assert (score.tau_same_images, score.tau_same_images_interval) == (None, None)
    assert score.pairs.resolving_power is None
    assert row.notes == (
        "all models have the same accuracy, so tau is undefined",
        "no two models differ significantly on all images",
        NO_MATRIX,
    )


def test_no_tables_give_no_rows():
    assert compare_groupings(COMPARED, {}, seed=0)[1] == []


@pytest.mark.parametrize(
    ("predictions", "tables", "message"),
    [
        ([], {"all": ALL}, "no predictions"),
        (
            [*COMPARED, Predictions("d", COMPARED[0].top5, COMPARED_TRUTH[::-1])],
            {"all": ALL},
            "predictions of d are of other images than those of a",
        ),
        (
            [*COMPARED, Predictions("d", COMPARED[0].top5, COMPARED_TRUTH, ("x",))],
            {"all": ALL},
            "predictions of d",
        ),
        (COMPARED, {"none": np.full(1000, -1)}, "none: a: the groups contain none"),
    ],
    ids=["no_predictions", "other_truth", "other_keys", "no_images"],
)
def test_incomparable_predictions_are_usage_errors(predictions, tables, message):
    with pytest.raises(UsageError, match=message):
        compare_groupings(predictions, tables, seed=0)


def test_table_is_aligned_with_notes_legend_and_advice_below():
    tables = {"all": ALL, "a longer name": TENS}
    full, rows = compare_groupings(COMPARED[:2], tables, seed=0)
    models = [model.model for model in COMPARED[:2]]
    assert advise(full, [row.score for row in rows], models) == []
    header, first, second, *notes = format_comparison(rows).splitlines()
    assert header.startswith("grouping       groups  classes")
    assert len(header) == len(first) == len(second)
    assert first.split()[:4] == ["all", "1000", "1000", "1/1/1"]
    assert "captured" not in header  # undefined in all rows
    few, captured, *_ = notes  # of both, once
    assert few.startswith("2 of at least 3 models: too few for a ranking")
    assert few.endswith("figures are `-`; give --predictions of more models")
    assert captured == NO_MATRIX
    for column in header.split():
        assert any(line.startswith(f"{column}: ") for line in notes)
    assert format_comparison([]).split()[0] == "grouping"


def test_recommendation_names_ties_and_noise():
    full, rows = compare_groupings(COMPARED, {"all": ALL, "tens": TENS}, seed=0)
    line, limit, few = advise(full, [row.score for row in rows], "abc")
    assert few.startswith("3 models are few: with less than 6 a rank corr")
    assert line.startswith(
        "use all: τ-b 1.000, which keeps the ranking within the noise "
        "of 2,000 images; undecided between it and tens"
    )
    assert "trained on the single classes" in limit
    (nothing,) = advise(full, [], "abc")
    assert nothing == "none, since no grouping can be ranked."


def test_models_whose_confusion_made_the_groups_are_warned_of():
    made_from = {"tens": ("z", "b"), "all": ()}
    _, rows = compare_groupings(
        COMPARED,
        {"tens": TENS, "all": ALL, "low": LOW_HALF},
        confusion_models=made_from,
        seed=0,
    )
    notes = {row.score.title: row.notes for row in rows}
    tens, unknown, other = (notes[name] for name in ("tens", "all", "low"))
    assert any(n.startswith("warning: the groups are made from the confusion of b, ra")
               for n in tens)  # fmt: skip
    assert any("the confusion of unknown models" in note for note in unknown)
    assert not any("confusion of" in note for note in other)
    found = evaluate_predictions(
        MODELS,
        {"p": PAIRS},
        confusion_models={"p": ("good",)},
        seed=0,
    )
    assert found.warnings[-1].startswith("p: the groups are made from the confusion of")
    assert "confusion" not in "".join(
        evaluate_predictions(MODELS, {"p": PAIRS}, seed=0).warnings
    )


def test_models_at_chance_are_warned_of():
    wrong = Predictions("w", 999 - COMPARED[0].top5, COMPARED_TRUTH)
    above, guessing = warn_of_order([*COMPARED, wrong])  # a is often one above
    assert above.startswith("a is correct for 25.00% of 2000 images, but for 75.00%")
    assert guessing.startswith("w is no better than chance: its likeliest class is")


@pytest.mark.real
def test_random_groups_keep_the_order_of_real_models(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    groups = np.random.default_rng(0).permutation(1000) % 20
    _, (row,) = compare_groupings(read_predictions(paths), {"random": groups}, seed=0)
    assert row.score.tau_same_images > 0.95
    assert row.score.tau_same_images_interval.low > 0.8
    assert row.score.num_images == 50_000
    assert row.score.shape.effective_groups == 20
