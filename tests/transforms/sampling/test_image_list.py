"""Test reading and writing lists of image names."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.records import UsageError
from transforms.sampling import image_list

A, B, C = "n01440764_10026", "n02110958_5", "ILSVRC2012_val_00000293"
WNID = {A: "n01440764", B: "n02110958", C: ""}
NAMES = f"{A}.JPEG\n{B}.JPEG\n{C}.JPEG\n"


def read(tmp_path, data, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return image_list.read(str(path))


def refuse(tmp_path, data, name="list.txt"):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, data, name)
    assert str(caught.value).startswith(f"--images {tmp_path / name}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        NAMES,
        NAMES.replace("\n", "\r\n"),
        "\ufeff" + NAMES,
        NAMES.rstrip("\n"),
        NAMES.replace(".JPEG", ""),
        NAMES.replace(".JPEG", ".jpg"),
        f"# a comment\n\n{NAMES}\n\n",
        f"train/n01440764/{A}.JPEG\ntrain\\n02110958\\{B}.JPEG\nval/{C}.JPEG\n",
        f"/data/My Drive/n01440764/{A}.JPEG\n./{B}.JPEG\ngs://b/val/{C}.JPEG\n",
        f"{A.upper()}.jpeg\n{B}_n02110958.JPEG\n{C}\n",
        f"{A}.JPEG 0\n{B}.JPEG 254\n{C}.JPEG\n",
        f"{A}.JPEG,n01440764\n{B}.JPEG,N02110958\n{C}.JPEG\n",
        f"{A} 1\n{B} 2\n{C} 3\n",  # the official train_cls.txt counts its lines
        f"image\n{NAMES}",
        f"file_name label\n{A}.JPEG 0\n{B}.JPEG 254\n{C}.JPEG\n",
    ],
)
def test_spellings_of_a_text_list_are_equal(tmp_path, text):
    table = read(tmp_path, text)
    assert table["key"].to_pylist() == [A, B, C]
    assert table["wnid"].to_pylist()[:2] == [WNID[A], WNID[B]]
    assert set(table["split"].to_pylist()) == {""}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", NAMES),
        ("a.csv", f"{A},n01440764\n{B},254\n{C}\n"),
        ("a.csv", f"split,image\n,{A}.JPEG\n,{B}.JPEG\n,{C}.JPEG\n"),
        ("a.csv", f"Image ID,Label\n{A},tench\n{B},pug\n{C},\n"),
        ("a.csv", f'"file_name","size"\n"n01440764/{A}.JPEG",1\n{B},2\n{C},3\n'),
        ("a.tsv", f"key\tclass_index\n{A}\t0\n{B}\t254\n{C}\t\n"),
        (
            "a.csv",
            f"ImageId,PredictionString\n{A},n01440764 1 2 3 4\n{B},n02110958 1 2 3 4 "
            f"n02110958 5 6 7 8\n{C},\n",
        ),
    ],
)
def test_tables_are_read_by_their_columns(tmp_path, name, text):
    table = read(tmp_path, text, name)
    assert table["key"].to_pylist() == [A, B, C]
    assert table["wnid"].to_pylist() == [WNID[A], WNID[B], ""]


def _parquet(tmp_path, columns, name="a.parquet"):
    pq.write_table(pa.table(columns), tmp_path / name)
    return str(tmp_path / name)


def test_parquet_is_read_by_its_columns(tmp_path):
    keys = pa.array([A, B, C]).dictionary_encode()
    columns = {"size": [1, 2, 3], "image": keys, "label": [0, 254, None]}
    table = image_list.read(_parquet(tmp_path, columns))
    assert table["key"].to_pylist() == [A, B, C]
    assert table["wnid"].to_pylist() == [WNID[A], WNID[B], ""]
    as_text = image_list.read(_parquet(tmp_path, columns, "renamed.txt"))
    assert as_text.equals(table)


def test_labels_of_groups_beside_wnids_are_ignored(tmp_path):
    manifest = {
        "key": [A, B],
        "split": ["train", "validation"],
        "wnid": [WNID[A], WNID[B]],
        "label": [7, 3],
    }
    table = image_list.read(_parquet(tmp_path, manifest))
    assert table["split"].to_pylist() == ["train", "validation"]
    assert table["wnid"].to_pylist() == [WNID[A], WNID[B]]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"", "is an empty file"),
        ("a.txt", b"\n# nothing\n", "lists no images"),
        ("a.csv", b"image,split\n", "lists no images"),
        ("a.txt", NAMES.encode("utf-16"), "is UTF-16 text"),
        ("a.txt", f"{A}\nb\xe4r\n".encode("latin-1"), "is not UTF-8: line 2 has"),
        ("a.txt", b"\x1f\x8b\x08\0", "gzip"),
        ("a.txt", b"PK\3\4\0\0", "zip archive"),
        ("a.parquet", NAMES.encode(), "is not a Parquet file"),
        ("a.parquet", b"PAR1 and no more", "not a complete Parquet file"),
        ("a.csv", b"size,colour\n1,red\n", "no column of image names; its columns are"),
        ("a.csv", f"image,image\n{A},{A}\n".encode(), "two columns 'image'"),
        ("a.csv", f"image;label\n{A};0\n".encode(), "separated by semicolons"),
        ("a.csv", f"image,label\n{A},0,9\n".encode(), "line 2: has 3 fields"),
        ("a.csv", f"image,split\n{A},test\n".encode(), "line 2: split 'test' is not"),
        ("a.txt", f"{A}\n{A}.JPEG\n".encode(), "line 2: 'n01440764_10026.JPEG' is in "
         "line 1 already"),
        ("a.txt", f"{C}\nval/n01440764/{C}.jpeg\n".encode(), "is in line 1 already"),
        ("a.txt", b"a photo of a cat\n", "line 1: 'a photo of a cat' is not the name"),
        ("a.txt", f"0 {A}\n".encode(), "is not the name of an image"),
        ("a.txt", f'["{A}", "{B}"]\n'.encode(), "is not the name of an image"),
        ("a.txt", b"../../etc/passwd.conf\n", "is not the name of an image"),
        ("a.txt", f"{A} 1\n{B} 254\n".encode(), "line 1: 'n01440764_10026': its name, "
         "folder and label give different classes (n01440764, n01443537)"),
        ("a.txt", f"n02110958/{A}\n".encode(), "give different classes"),
        ("a.txt", f"n02110958/{C} n01440764\n".encode(), "give different classes"),
        ("a.csv", f"image,label\n{A},1000\n".encode(), "class index '1000' is not 0 "),
        ("a.csv", f"image,label\n{A},tensch\n".encode(), "did you mean n01440764 (ten"),
    ],
)  # fmt: skip
def test_damaged_lists_are_refused(tmp_path, name, data, expected):
    assert expected in refuse(tmp_path, data, name)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"size": [1]}, "no column of image names; its columns are 'size'"),
        ({"image": [{"bytes": b"x", "path": A}]}, "no column of image names"),
        ({"image": [A, None]}, "row 2: '' is not the name of an image"),
        ({"image": [A, A]}, "row 2: 'n01440764_10026' is in row 1 already"),
        ({"image": pa.array([b"\xff\xfe"])}, "not a complete Parquet file"),
        ({"image": pa.array([], pa.string())}, "lists no images"),
    ],
)
def test_damaged_parquet_is_refused(tmp_path, columns, expected):
    path = _parquet(tmp_path, columns)
    with pytest.raises(UsageError) as caught:
        image_list.read(path)
    assert expected in str(caught.value)
    assert str(caught.value).count(path) == 1


def test_folders_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="is a folder; name a file"):
        image_list.read(str(tmp_path))
    with pytest.raises(UsageError, match=r"none\.txt: no such file"):
        image_list.read(str(tmp_path / "none.txt"))


def test_all_problems_are_listed_with_their_lines(tmp_path):
    text = "".join(f"not an image {n}\n" for n in range(12))
    lines = refuse(tmp_path, text).splitlines()
    assert [line.split(": ")[1] for line in lines[:10]] == [
        f"line {n}" for n in range(1, 11)
    ]
    assert lines[10].endswith(": and 2 more problems")


def test_a_changed_list_is_read_again(tmp_path):
    assert len(read(tmp_path, NAMES)) == 3
    assert len(read(tmp_path, f"{A}\n")) == 1


@pytest.mark.parametrize("suffix", image_list.SUFFIXES)
def test_a_written_list_is_read_back(tmp_path, suffix):
    images = {"key": [A, B, C], "wnid": ["n01440764", "n02110958", "n01440764"]}
    images["split"] = ["fold_a", "validation", "validation"]
    path = f"{tmp_path}/a{suffix}"
    image_list.write(path, pa.table(images))
    assert image_list.read(path).drop_columns("name").to_pydict() == images
