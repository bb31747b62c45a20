from collections import Counter

import pytest

from transforms.labels import validation
from transforms.records import UsageError

HEADER = "ImageId,PredictionString\n"


def test_official_labels_are_fifty_of_each_class():
    labels = validation.official_labels()
    assert len(labels) == 50_000
    assert set(Counter(labels.values()).values()) == {50}
    assert len(set(labels.values())) == 1000


def test_official_labels_of_the_first_and_last_images():
    labels = validation.official_labels()
    assert labels["ILSVRC2012_val_00000001"] == "n01751748"
    assert labels["ILSVRC2012_val_00000002"] == "n09193705"
    assert labels["ILSVRC2012_val_00050000"] == "n02437616"


@pytest.mark.real
def test_official_labels_are_those_of_kaggle(real_data):
    path = real_data / "labels" / "LOC_val_solution.csv"
    assert validation.read_labels(str(path)) == validation.official_labels()


def test_official_stems_are_all_of_them_once_and_no_other():
    stems = list(validation.official_labels())
    assert validation.are_official_stems(reversed(stems))
    assert not validation.are_official_stems(stems[1:])
    assert not validation.are_official_stems([*stems, stems[0]])
    assert not validation.are_official_stems([*stems[1:], stems[1]])
    assert not validation.are_official_stems([*stems[1:], "ILSVRC2012_val_00050001"])
    assert not validation.are_official_stems([])


def test_first_word_is_the_wnid_and_byte_order_mark_and_crlf_are_fine(tmp_path):
    text = HEADER + "a,n01440764 1 2 3 4 n01443537 1 2 3 4 \n\nb,n01443537\n"
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    expected = {"a": "n01440764", "b": "n01443537"}
    assert validation.read_labels(str(path)) == expected
    assert validation.parse_labels("\ufeff" + text, source="x") == expected


def test_names_of_files_are_read_as_their_stems():
    text = HEADER + "ILSVRC2012_val_00000001.JPEG,n01440764\nval/b.JPEG,n01443537\n"
    assert validation.parse_labels(text, source="x") == {
        "ILSVRC2012_val_00000001": "n01440764",
        "b": "n01443537",
    }


def test_same_image_twice_with_the_same_label_is_fine():
    text = HEADER + "a,n01440764\na,n01440764 1 1 2 2\n"
    assert validation.parse_labels(text, source="x") == {"a": "n01440764"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv:1: the header is ''"),
        ("490\n361\n", "x.csv:1: the header is '490', not 'ImageId,PredictionString'"),
        (HEADER, "x.csv:1: holds no labels"),
        (HEADER.replace(",", ";"), "x.csv:1: its cells are separated by semicolons"),
        ("a.JPEG\tn01440764\t0\n", "with the header ImageId,PredictionString"),
        (HEADER + "a\n", "x.csv:2: is 'a', not an image and its wnid"),
        (HEADER + "a,\n", "x.csv:2: is 'a,'"),
        (HEADER + "a,n01440764,3\n", "x.csv:2: is 'a,n01440764,3'"),
        (HEADER + ",n01440764\n", "x.csv:2: is ',n01440764'"),
        (HEADER + "a,tench 1 2\n", "x.csv:2: 'tench' is not a wnid"),
        (
            HEADER + "a,n01440764\nb,n01440764\na,n01443537\n",
            "x.csv:4: a is n01443537 here and n01440764 in line 2; keep one",
        ),
        (HEADER + '"' + "a" * 200_000, "x.csv:2: field larger than field limit"),
    ],
    ids=lambda value: value[:30] if "x.csv" in value else "",
)
def test_problems_name_file_and_line(text, message):
    with pytest.raises(UsageError) as caught:
        validation.parse_labels(text, source="x.csv")
    assert message in str(caught.value)


def test_ten_problems_are_shown_and_the_rest_counted():
    rows = "".join(f"image{number},oops\n" for number in range(25))
    with pytest.raises(UsageError) as caught:
        validation.parse_labels(HEADER + rows, source="x.csv")
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("x.csv:2:")
    assert lines[-1].endswith("more problems")


def test_no_file_and_no_text_are_the_users_to_mend(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        validation.read_labels(str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="save it as UTF-8"):
        validation.read_labels(str(tmp_path / "binary.csv"))
