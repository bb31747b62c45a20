import numpy as np
import pytest

from transforms.evaluation import ranking
from transforms.evaluation.by_predictions import compare, format_comparison
from transforms.predictions.reading import Predictions, read_predictions
from transforms.records import UsageError

TRUTH = np.arange(2000) % 100
ALL = np.arange(1000)
TENS = np.arange(1000) // 10
LOW_HALF = np.where(np.arange(1000) < 50, np.arange(1000) // 10, -1)


def make_model(name, num_right, step=1):
    """Answer right on the first images, and the class `step` above on the others."""
    top1 = np.where(np.arange(len(TRUTH)) < num_right, TRUTH, TRUTH + step)
    others = np.arange(900, 904)
    top5 = np.column_stack([top1, np.tile(others, (len(TRUTH), 1))])
    return Predictions(name, top5, TRUTH)


MODELS = [make_model("a", 500), make_model("b", 1000), make_model("c", 1500)]


class Forgiving:
    def captured(self, labels):
        return float((labels >= 0).mean())


def test_every_class_its_own_group_ranks_as_the_classes_do():
    (row,) = compare(MODELS, {"all": ALL})
    assert (row.num_groups, row.num_classes) == (1000, 1000)
    assert (row.smallest, row.median, row.largest) == (1, 1, 1)
    assert row.effective_groups == 1000
    assert row.num_images == 2000
    assert row.tau == row.tau_all_images == row.resolving_power == 1
    assert row.tau_interval == (1, 1)
    assert (row.regret, row.undecided_share, row.captured) == (0, 0, None)
    assert row.notes == ()


def test_groups_that_forgive_a_models_errors_change_the_order():
    """Errors ten classes away stay errors, those one class away mostly do not."""
    models = [make_model("near", 500), make_model("far", 1000, step=10)]
    models.append(make_model("best", 1800))
    (row,) = compare(models, {"tens": TENS})
    assert row.tau == pytest.approx(1 / 3)
    assert row.resolving_power == pytest.approx(2 / 3)
    assert row.regret == 0


def test_sizes_and_effective_groups():
    uneven = np.full(1000, -1)
    uneven[:6], uneven[6:8], uneven[8] = 7, 3, 4
    (row,) = compare(MODELS, {"uneven": uneven})
    assert (row.num_groups, row.num_classes) == (3, 9)
    assert (row.smallest, row.median, row.largest) == (1, 2, 6)
    assert row.effective_groups == pytest.approx(81 / (36 + 4 + 1))


def test_left_out_classes_are_scored_on_the_images_that_are_left():
    (row,) = compare(MODELS, {"low": LOW_HALF}, masked=False)
    assert row.num_images == 1000
    assert row.undecided_share == 0
    counted = np.array([0.25, 0.5, 0.75])
    groups = np.where(TRUTH < 50)[0]
    grouped = [
        (LOW_HALF[m.top5[groups, 0]] == LOW_HALF[TRUTH[groups]]).mean() for m in MODELS
    ]
    assert row.tau == ranking.kendall_tau(counted, np.array(grouped))


def test_undecided_images_are_counted_and_noted():
    """The class above 49 is left out, and so are the other four."""
    (row,) = compare(MODELS, {"low": LOW_HALF})
    shares = [15 / 1000, 10 / 1000, 5 / 1000]
    assert row.undecided_share == pytest.approx(np.mean(shares))
    assert row.notes == ()
    narrow = np.where(np.arange(1000) < 20, 0, -1)
    (row,) = compare(MODELS, {"narrow": narrow})
    (note,) = row.notes
    assert "2 of 3 models have no grouped class" in note
    assert "more than 2% of the images" in note
    assert note.endswith("most a, 3.8%")


def test_confusion_says_what_is_captured():
    rows = compare(MODELS, {"all": ALL, "low": LOW_HALF}, confusion=Forgiving())
    assert [row.captured for row in rows] == [1, 0.05]


def test_rows_come_in_the_order_of_the_tables_and_repeat_themselves():
    tables = {"tens": TENS, "all": ALL, "low": LOW_HALF}
    rows = compare(MODELS, tables, seed=3)
    assert [row.name for row in rows] == list(tables)
    assert rows == compare(MODELS, tables, seed=3)


def test_few_models_are_noted():
    (row,) = compare(MODELS[:2], {"all": ALL})
    assert (row.tau, row.tau_interval) == (1, None)
    assert row.notes[0].startswith("2 of at least 3 models")
    (row,) = compare(MODELS[:1], {"all": ALL})
    assert (row.tau, row.resolving_power) == (None, None)
    assert len(row.notes) == 2


def test_models_that_tie_are_noted():
    (row,) = compare([MODELS[0]] * 3, {"all": ALL})
    assert (row.tau, row.tau_interval, row.resolving_power) == (None, None, None)
    assert row.notes == (
        "all models have the same accuracy, so that tau is not defined",
        "no two models differ by more than chance on all images",
    )


def test_no_tables_are_no_rows():
    assert compare(MODELS, {}) == []


@pytest.mark.parametrize(
    ("predictions", "tables", "message"),
    [
        ([], {"all": ALL}, "no predictions"),
        (
            [*MODELS, Predictions("d", MODELS[0].top5, TRUTH[::-1])],
            {"all": ALL},
            "predictions of d are of other images than those of a",
        ),
        (
            [*MODELS, Predictions("d", MODELS[0].top5, TRUTH, ("x",))],
            {"all": ALL},
            "predictions of d",
        ),
        (MODELS, {"none": np.full(1000, -1)}, "none: a: the groups hold none"),
    ],
    ids=["no_predictions", "other_truth", "other_keys", "no_images"],
)
def test_what_cannot_be_compared_is_the_users_to_mend(predictions, tables, message):
    with pytest.raises(UsageError, match=message):
        compare(predictions, tables)


def test_table_is_aligned_with_notes_below():
    rows = compare(MODELS[:2], {"all": ALL, "a longer name": TENS})
    header, first, second, *notes = format_comparison(rows).splitlines()
    assert header.startswith("grouping       groups  classes")
    assert len(header) == len(first) == len(second)
    assert first.split()[:4] == ["all", "1000", "1000", "1/1/1"]
    assert " -  " in first
    assert [note.split(":")[0] for note in notes] == ["all", "a longer name"]
    assert format_comparison([]).split()[0] == "grouping"


@pytest.mark.real
def test_random_groups_keep_the_order_of_real_models(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    groups = np.random.default_rng(0).permutation(1000) % 20
    (row,) = compare(read_predictions(paths), {"random": groups})
    assert row.tau > 0.95
    assert row.tau_interval.low > 0.8
    assert row.num_images == 50_000
    assert row.effective_groups == 20
