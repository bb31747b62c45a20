import pytest

from transforms.labels import class_lists
from transforms.records import UsageError


def write(folder, text):
    path = folder / "classes.txt"
    path.write_text(text)
    return str(path)


def test_lines_are_wnids_names_or_no_class(tmp_path):
    text = (
        "background\nn01440764 tench, Tinca tinca\ngolf ball\nN02102040\n-\n"
        "n01443537,goldfish\r\nEnglish_Setter\n\n"
    )
    expected = (
        "", "n01440764", "n03445777", "n02102040", "", "n01443537", "n02100735"
    )  # fmt: skip
    assert class_lists.read(write(tmp_path, text)) == expected
    assert class_lists.read("") == ()


A, B, C = "n01440764", "n01443537", "n02106662"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{B} 1 goldfish\n{A} 0 tench\n{C} 2\n", (A, B, C)),
        (f"{C} 1 x\n{A} 2 y\n{B} 3 z\n", ("", C, A, B)),
        (f"{C},1\n{A},0\n", (A, C)),
        (f"1\t{C}\tx\n0\t{A}\ty\n", (A, C)),
        (f"goldfish {B} 0\ntench {A} 1\n", (B, A)),
        (f"-\n{B} 2\n{A} 1\n", ("", A, B)),
        (f"{A} 1\n0 background\n", ("", A)),
        (f"{B} route 66 1\n{A} 4x4, 0\n", (B, A)),
    ],
    ids=[
        "from 0", "from 1", "commas", "before", "third", "no class", "background",
        "digits in names",
    ],
)  # fmt: skip
def test_integers_beside_wnids_are_their_labels(tmp_path, text, expected):
    assert class_lists.read(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{A} 0\n{B} 2\n", ":2: the number 2 is not 0 to 1"),
        (f"{A} 7\n{B} 1300\n", ":1: the number 7 is not 1 to 2"),
        (f"{A} 1\n{B} -1\n", ":2: the number -1 is not 1 to 2"),
        (f"{A} 1\n{B} 1\n", ":2: the number 1 is in line 1 too"),
        (f"{A} 0\n{B} goldfish\n", ":2: has no number beside a wnid"),
        (f"0 {A} 0\n1 {B} 1\n", ":1: has numbers on both sides"),
    ],
    ids=["gap", "counts", "negative", "twice", "missing", "both sides"],
)
def test_other_integers_beside_wnids_are_refused(tmp_path, text, problem):
    with pytest.raises(UsageError) as caught:
        class_lists.read(write(tmp_path, text))
    assert problem in str(caught.value)
    assert "remove" in str(caught.value)


@pytest.mark.parametrize("line", ["background noise", "- tench"])
def test_words_beside_no_class_are_an_error(tmp_path, line):
    with pytest.raises(UsageError, match=":2: unknown label"):
        class_lists.read(write(tmp_path, f"{A}\n{line}\n"))


def test_all_problems_are_reported_with_their_lines(tmp_path):
    path = write(tmp_path, "n01440764\nfoo\ncrane\n\nn01440764\n")
    with pytest.raises(UsageError) as caught:
        class_lists.read(path)
    assert [line.split(" ")[1] for line in str(caught.value).splitlines()] == [
        f"{path}:{number}:" for number in (2, 3, 4, 5)
    ]
    assert "unknown label 'foo'" in str(caught.value)
    assert "label 'crane' is ambiguous" in str(caught.value)
    assert "n01440764 is in line 1 already; keep one" in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "-\n"])
def test_list_without_classes_is_an_error(tmp_path, text):
    with pytest.raises(UsageError, match="lists no classes; give one wnid or name"):
        class_lists.read(write(tmp_path, text))


def test_missing_list_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"--class_list .*none\.txt: no such file"):
        class_lists.read(str(tmp_path / "none.txt"))
