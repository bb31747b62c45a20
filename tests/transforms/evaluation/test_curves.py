import csv
import re

import numpy as np
import pytest

from tests import making_curves
from tests.making_curves import FULL_ID, locate, rows
from transforms.evaluation import ranking
from transforms.evaluation.curves import group_by_set, parse, read_rows
from transforms.records import UsageError
from transforms.training.curves import to_csv

THREE = {"a": [0.1, 0.3], "b": [0.2, 0.2], "c": [0.3, 0.1]}
ROWS = making_curves.rows({"net": [0.25, 0.5], "wide": [0.125, 1.0]})
HEADER = "subset_id,model,epoch,epochs,train_images,validation_images,"
HEADER += "validation_accuracy\n"


def refuse(made, *words):
    with pytest.raises(UsageError) as caught:
        group_by_set(locate(made))
    for word in words:
        assert word in str(caught.value)


def test_sets_are_distinguished_by_their_ids():
    made = rows(THREE) + rows(THREE, subset_id="ab", train_images=5)
    (full, small), warnings = group_by_set(locate(made))
    assert (full.subset_id, small.subset_id) == (FULL_ID, "ab")
    assert (full.train_images, small.train_images) == (1000, 5)
    assert full.models == ("a", "b", "c")
    assert full.name == "full ffffffff"
    assert warnings == []


def test_names_of_sets_differ_if_their_ids_share_a_beginning():
    ids = ["imagenet_random", "imagenet_hard", "a" * 64]
    made = [row for set_id in ids for row in rows(THREE, subset_id=set_id)]
    sets, _ = group_by_set(locate(made))
    names = ["small imagenet_random", "small imagenet_hard", "small aaaaaaaa"]
    assert [one.name for one in sets] == names


def test_each_seeds_best_learning_rate_is_averaged():
    made = [
        *rows({"a": [0.5, 0.1]}, learning_rate=1),
        *rows({"a": [0.1, 0.2]}, learning_rate=2),
        *rows({"a": [0.3, 0.4]}, learning_rate=1, seed=7),
        *rows({"a": [0.9, 0.4]}, learning_rate=2, seed=7),  # as good: the first counts
    ]
    (one,), _ = group_by_set(locate(made))
    best = [(run.seed, run.learning_rate) for run in one.best_runs("a")]
    assert best == [(0, 2.0), (7, 1.0)]
    assert one.mean_curves()[0] == pytest.approx([0.2, 0.3])
    assert len(one.runs) == 4


def test_rows_may_come_in_any_order():
    made = rows(THREE)
    (ordered,), _ = group_by_set(locate(made))
    (shuffled,), _ = group_by_set(locate(made[::-1]))
    assert shuffled.mean_curves().tolist() == ordered.mean_curves().tolist()


def test_exact_repeats_are_dropped_with_a_warning():
    made = rows(THREE)
    again = [made[0]._replace(seconds=9.0), made[3]]
    (one,), (warning,) = group_by_set(locate([*made, *again]))
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


def test_unfinished_runs_are_rejected():
    made = rows({"a": [0.1, 0.2]}, epochs=9)
    refuse(made, "is not finished: 2 of 9 epochs", "continue its training")


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


def test_models_with_equal_accuracy_tie_for_any_order_of_seeds():
    counts = {"a": [409, 411, 406], "b": [406, 409, 411], "c": [411, 406, 410]}
    made = []
    for seed in range(3):
        accuracies = {model: [n[seed] / 1000] * 2 for model, n in counts.items()}
        made += rows(accuracies, seed=seed, validation_images=1000)
    (one,), _ = group_by_set(locate(made))
    means = dict(zip(one.models, one.mean_curves()[:, -1], strict=True))
    assert means["a"] == means["b"] == 1226 / 3000
    assert means["c"] == 1227 / 3000


def test_rows_survive_a_round_trip():
    assert parse(to_csv(ROWS).decode()) == (ROWS, [])


def test_columns_may_be_in_any_order_and_some_are_optional():
    text = "model,validation_accuracy,epoch,epochs,subset_id,train_images,"
    text += "validation_images,more\nnet,0.5,1,1,ab,10,20,x\n\n"
    (row,), problems = parse(text)
    assert problems == []
    assert (row.model, row.validation_accuracy, row.subset_id) == ("net", 0.5, "ab")
    assert (row.seed, row.learning_rate, row.dataset) == (0, 0.0, "")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ab,net,1,1,10,20,76.2", "76.2 is above 1.*divide percentages by 100"),
        ("ab,net,1,1,10,20,-0.1", "-0.1 is below 0"),
        ("ab,net,1,1,10,20,nan", "'nan' is not finite"),
        ("ab,net,1,1,10,20,high", "'high' is not a number"),
        ("ab,net,0,1,10,20,0.5", "epoch 0 is not 1 to 10+"),
        ("ab,net,1.5,1,10,20,0.5", "epoch '1.5' is not a whole number"),
        ("ab,net,3,2,10,20,0.5", "epoch 3 is after the last epoch, 2"),
        ("ab,net,1,1,10,0,0.5", "validation_images 0 is not 1 to 10+"),
        ("ab,net,1,1,99999999999999,2,0.5", "train_images 9+ is not 1 to"),
        (",net,1,1,10,20,0.5", "subset_id is empty"),
        ("ab,,1,1,10,20,0.5", "model is empty"),
        ("ab,net,1,1,10,20", "has 6 fields where the header has 7"),
    ],
)
def test_invalid_row_is_reported_with_its_line(row, problem):
    rows, (message,) = parse(f"{HEADER}{row}\nab,net,1,1,10,20,0.5\n")
    assert len(rows) == 1
    assert re.match(f"line 2.*{problem}", message)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model,epoch,top_1\nnet,1,0.5\n", "has no column subset_id, epochs"),
        ("", "has no column"),
        (HEADER, "no rows"),
        (HEADER.replace("\n", ",model\n"), "the column model twice"),
        (HEADER + '"ab,net\n', "check the quotes"),
    ],
    ids=["other table", "empty", "no rows", "repeated column", "open quote"],
)
def test_other_files_are_rejected(text, problem):
    with pytest.raises(UsageError, match=problem):
        parse(text)


def test_folder_is_expanded_to_all_curves_below_it(tmp_path):
    for number, row in enumerate(ROWS):
        making_curves.write(tmp_path / f"net{number}/seed0/curves.csv", [row])
    (tmp_path / "net0/seed0/other.csv").write_text("not,read\n")
    located = read_rows([str(tmp_path)])
    assert [item.row for item in located] == ROWS
    assert located[1].path == f"{tmp_path}/net1/seed0/curves.csv"


def test_a_file_given_twice_counts_once(tmp_path):
    path = making_curves.write(tmp_path / "curves.csv", ROWS)
    assert len(read_rows([path, str(tmp_path)])) == len(ROWS)


def test_all_files_problems_are_named_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    wrong = HEADER + "ab,net,1,1,10,20,76.2\n" * 9
    (tmp_path / "percent.csv").write_text(wrong)
    names = ("empty", "binary.csv", "gone.csv", "percent.csv")
    with pytest.raises(UsageError) as caught:
        read_rows([str(tmp_path / name) for name in names])
    text = str(caught.value)
    assert all(f"{tmp_path}/{name}: " in text for name in names)
    assert "and 4 more lines" in text
