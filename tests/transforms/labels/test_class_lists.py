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
