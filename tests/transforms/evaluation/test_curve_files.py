import re

import pytest

from tests import making_curves
from transforms.evaluation.curves import parse, read_rows
from transforms.records import UsageError
from transforms.training import curves as training_curves

ROWS = making_curves.rows({"net": [0.25, 0.5], "wide": [0.125, 1.0]})
HEADER = "subset_id,model,epoch,epochs,train_images,validation_images,"
HEADER += "validation_accuracy\n"


def test_rows_come_back_as_they_were_written():
    assert parse(training_curves.to_csv(ROWS).decode()) == (ROWS, [])


def test_columns_may_stand_in_any_order_and_some_may_lack():
    text = "model,validation_accuracy,epoch,epochs,subset_id,train_images,"
    text += "validation_images,more\nnet,0.5,1,1,ab,10,20,x\n\n"
    (row,), problems = parse(text)
    assert problems == []
    assert (row.model, row.validation_accuracy, row.subset_id) == ("net", 0.5, "ab")
    assert (row.seed, row.learning_rate, row.dataset) == (0, 0.0, "")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ab,net,1,1,10,20,76.2", "76.2 is above 1.*divide those in percent by 100"),
        ("ab,net,1,1,10,20,-0.1", "-0.1 is below 0"),
        ("ab,net,1,1,10,20,nan", "'nan' is not finite"),
        ("ab,net,1,1,10,20,high", "'high' is not a number"),
        ("ab,net,0,1,10,20,0.5", "epoch 0 is not 1 to 10+"),
        ("ab,net,1.5,1,10,20,0.5", "epoch '1.5' is not a whole number"),
        ("ab,net,3,2,10,20,0.5", "epoch 3 lies behind the last, 2"),
        ("ab,net,1,1,10,0,0.5", "validation_images 0 is not 1 to 10+"),
        ("ab,net,1,1,99999999999999,2,0.5", "train_images 9+ is not 1 to"),
        (",net,1,1,10,20,0.5", "subset_id is empty"),
        ("ab,,1,1,10,20,0.5", "model is empty"),
        ("ab,net,1,1,10,20", "has 6 fields, the header 7"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_line(row, problem):
    rows, (found,) = parse(f"{HEADER}{row}\nab,net,1,1,10,20,0.5\n")
    assert len(rows) == 1
    assert re.match(f"line 2.*{problem}", found)


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
def test_what_is_no_table_of_curves_is_refused(text, problem):
    with pytest.raises(UsageError, match=problem):
        parse(text)


def test_a_folder_stands_for_all_curves_below_it(tmp_path):
    for number, row in enumerate(ROWS):
        making_curves.write(tmp_path / f"net{number}/seed0/curves.csv", [row])
    (tmp_path / "net0/seed0/other.csv").write_text("not,read\n")
    found = read_rows([str(tmp_path)])
    assert [one.row for one in found] == ROWS
    assert found[1].path == f"{tmp_path}/net1/seed0/curves.csv"


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
    assert "and 4 lines more that are wrong" in text
