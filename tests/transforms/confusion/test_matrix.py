import numpy as np
import pytest

from transforms import npz
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.records import UsageError

WNIDS = ("n01440764", "n01443537", "n01484850", "n01514859")
MATRIX = np.array([[6, 3, 1, 0], [2, 8, 0, 0], [0, 0, 10, 0], [4, 0, 0, 16.0]])
NUM_IMAGES = np.array([10, 10, 10, 20])
CONFUSION = Confusion(MATRIX, WNIDS, NUM_IMAGES, ("alexnet",))


def _npz(tmp_path, **changes):
    arrays = {"matrix": MATRIX, "wnids": np.array(WNIDS), "num_images": NUM_IMAGES}
    path = tmp_path / "c.npz"
    path.write_bytes(npz.to_npz_bytes(arrays | changes))
    return str(path)


def _csv(tmp_path, text):
    path = tmp_path / "c.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def _problem(path):
    with pytest.raises(UsageError) as caught:
        confusion_matrix.read_confusion(path)
    return str(caught.value).replace(path, "FILE")


@pytest.mark.parametrize("factor", [1, 1 / 32], ids=["counts", "shares"])
def test_matrix_survives_a_round_trip(tmp_path, factor):
    written = Confusion(MATRIX * factor, WNIDS, NUM_IMAGES, ("alexnet", "vgg16"))
    data = confusion_matrix.to_npz(written)
    assert data == confusion_matrix.to_npz(written)
    (tmp_path / "c.npz").write_bytes(data)
    read = confusion_matrix.read_confusion(str(tmp_path / "c.npz"))
    np.testing.assert_array_equal(read.matrix, written.matrix)
    np.testing.assert_array_equal(read.num_images, NUM_IMAGES)
    assert (read.wnids, read.models) == (WNIDS, ("alexnet", "vgg16"))


def test_rates_are_the_mean_of_both_directions():
    rates = confusion_matrix.find_rates(CONFUSION)
    assert rates[0, 1] == pytest.approx((3 / 10 + 2 / 10) / 2)
    assert rates[0, 3] == pytest.approx((0 / 10 + 4 / 20) / 2)
    assert (rates == rates.T).all()
    assert not rates.diagonal().any()
    assert not rates[1, 2:].any()


def test_a_class_without_errors_or_images_has_rate_zero():
    confusion = Confusion(np.diag([0.0, 5, 5]), WNIDS[:3], np.array([0, 5, 5]))
    assert not confusion_matrix.find_rates(confusion).any()


def test_rates_have_the_requested_order(tmp_path):
    path = _npz(tmp_path)
    confusion = confusion_matrix.read_confusion(path)
    rates, back = (
        confusion_matrix.find_rates(confusion.select(wnids, source=path))
        for wnids in (WNIDS, WNIDS[::-1])
    )
    assert (back == rates[::-1, ::-1]).all()


def test_selected_rows_sum_to_one_again():
    selected = CONFUSION.select(WNIDS[:2], source="c.npz")
    assert selected.matrix.tolist() == [[6, 3], [2, 8]]
    assert selected.num_images.tolist() == [9, 10]
    assert CONFUSION.select(WNIDS, source="").num_images.tolist() == [10, 10, 10, 20]
    with pytest.raises(UsageError, match=r"c\.npz: has no row for 1 of the 2 classes"):
        CONFUSION.select((WNIDS[0], "n99999999"), source="c.npz")


def test_captured_share():
    captured = confusion_matrix.capture(CONFUSION, [0, 0, 1, 1])
    assert captured.share == 5 / 10
    assert captured.shares == (5 / 6, 0)
    assert captured.rates == (0.25, 0)
    assert captured.sizes == (2, 2)
    assert captured.num_empty == 1
    assert captured.to_json()["group_share"] == {
        "min": 0, "median": 0.416667, "max": 0.833333,
    }  # fmt: skip


def test_all_in_one_group_captures_all_and_single_classes_nothing():
    assert confusion_matrix.capture(CONFUSION, [0] * 4).share == 1
    assert confusion_matrix.capture(CONFUSION, range(4)).share == 0


def test_left_out_classes_are_not_counted():
    captured = confusion_matrix.capture(CONFUSION, [0, 0, -1, 1])
    assert captured.share == 5 / 9
    assert captured.sizes == (2, 1)


CSV = "wnid,{0},{1}\n{0},3,1\n{1},0,4\n".format(*WNIDS)


@pytest.mark.parametrize(
    ("text", "num_images"),
    [
        (CSV, [4, 4]),
        ("\ufeff" + CSV.replace("\n", "\r\n"), [4, 4]),
        (CSV.removeprefix("wnid"), [4, 4]),
        ("x,{1},{0}\n{0},1,3\n{1},4,0\n".format(*WNIDS), [4, 4]),
        ("x,{0},{1},num_images\n{0},3,1,9\n{1},0,4,8\n".format(*WNIDS), [9, 8]),
    ],
    ids=["plain", "windows", "empty_corner", "columns_in_another_order", "num_images"],
)
def test_csv(tmp_path, text, num_images):
    read = confusion_matrix.read_confusion(_csv(tmp_path, text))
    assert read.matrix.tolist() == [[3, 1], [0, 4]]
    assert read.num_images.tolist() == num_images
    assert read.wnids == WNIDS[:2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "FILE: has no matrix; give a header of wnids, then a row per class"),
        ("wnid,{0},{1}\n{0},3,1\n", "FILE: is not square: 1 rows and 2 columns"),
        (
            "wnid,{0},{1}\n{0},3,1\n{1},3\n",
            "FILE: line 3: has 2 fields where",
        ),
        ("wnid,{0},{1}\n{0},3,1\n{2},3,1\n", "FILE: rows and columns differ: {1}, {2}"),
        ("wnid,{0},{1}\n{0},3,1\n{1},x,1\n", "FILE: has a cell that is not a number"),
        ("wnid,{0},{1}\n{0},3,1\n{1},nan,1\n", "FILE: row {1} has NaN or infinity"),
        ("wnid,{0},{1}\n{0},3,1\n{1},-1,1\n", "FILE: row {1} has a negative number"),
        ("wnid,{0},{1}\n{0},3,.5\n{1},1,1\n", "FILE: row {0} has 3.5 images"),
        ("wnid,a,b\na,3,1\nb,1,1\n", "FILE: 'a', 'b': not a wnid (n and 8 digits)"),
        ('wnid,"{0}', "FILE: line 1: unexpected end of data; check the quotes"),
        (b"\xff\xfe", "FILE: is UTF-16 text; save it as UTF-8"),
    ],
)
def test_problems_of_csv(tmp_path, text, problem):
    if isinstance(text, str):
        text, problem = text.format(*WNIDS), problem.format(*WNIDS)
    assert _problem(_csv(tmp_path, text)).startswith(problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"matrix": MATRIX[:3]}, "FILE: matrix is 3×4 and num_images 4 for 4 wnids; "),
        ({"num_images": np.array(4)}, "FILE: matrix is 4×4 and num_images a single"),
        ({"matrix": MATRIX * np.nan}, f"FILE: row {WNIDS[0]} has NaN or infinity"),
        ({"matrix": -MATRIX}, f"FILE: row {WNIDS[0]} has a negative number"),
        ({"matrix": MATRIX * 2}, f"FILE: row {WNIDS[0]} sums to 20, but its num_i"),
        ({"num_images": NUM_IMAGES + 0.5}, f"FILE: row {WNIDS[0]} has 10.5 images"),
        ({"num_images": NUM_IMAGES * np.nan}, "FILE: row"),
        ({"wnids": np.array([*WNIDS[:3], WNIDS[0]])}, f"FILE: {WNIDS[0]}: is repeated"),
        ({"wnids": np.array(["hen", *WNIDS[1:]])}, "FILE: 'hen': not a wnid"),
        ({"matrix": MATRIX.astype(str)}, "FILE: has text instead of numbers"),
    ],
    ids=str,
)
def test_problems_of_npz(tmp_path, changes, problem):
    assert _problem(_npz(tmp_path, **changes)).startswith(problem)


def test_problems_of_files(tmp_path):
    assert _problem(str(tmp_path / "no.npz")).startswith("FILE: No such file")
    assert _problem("confusion.txt").startswith("FILE: is not a .npz or .csv file")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert "is not a readable npz file" in _problem(str(tmp_path / "bad.npz"))
    (tmp_path / "one.npz").write_bytes(npz.to_npz_bytes({"matrix": MATRIX}))
    assert "lacks the array 'wnids'; make it again" in _problem(
        str(tmp_path / "one.npz")
    )
