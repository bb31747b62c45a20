import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.difficulty import sources as difficulty_sources
from transforms.records import UsageError


def _read(path, kind="probability", **columns):
    names = {"key_column": "key", "score_column": "score", **columns}
    return difficulty_sources.read_scores(str(path), kind=kind, **names)


def test_csv_of_probabilities_is_read_unchanged(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "\ufeffkey,score,more\ntrain/n01440764/n01440764_10026.JPEG,0.25,x\nb,1,y\n"
    )
    assert _read(path).to_pylist() == [
        {
            "key": "n01440764_10026",
            "wnid": "n01440764",
            "p_correct": 0.25,
            "percent": 25,
            "fold": "",
            "model_id": "probability",
        },
        {
            "key": "b",
            "wnid": "",
            "p_correct": 1.0,
            "percent": 100,
            "fold": "",
            "model_id": "probability",
        },
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("easiness", [0, 0.5, 0.5, 1]), ("hardness", [1, 0.5, 0.5, 0])],
)
def test_any_numbers_become_shares_of_harder_images(tmp_path, kind, expected):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"k": list("abcd"), "el2n": [-3, 8.5, 8.5, 900]}), path)
    found = _read(path, kind, key_column="k", score_column="el2n")
    assert found["p_correct"].to_pylist() == expected


def test_order_of_the_rows_changes_nothing():
    scores = np.array([4.0, 1, 4, 2, 0])
    shares = difficulty_sources.to_p_correct(scores, "hardness")
    assert difficulty_sources.to_p_correct(scores[::-1], "hardness").tolist() == (
        shares[::-1].tolist()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,score\na,1.5\n", r"row 2: 1.5 is not a probability"),
        ("key,score\na,-0.1\n", r"row 2: -0.1 is not a probability"),
        ("key,score\na,0.1\nb,nan\n", r"row 3: its score is not a finite number"),
        (
            "key,score\na,inf\nb,-inf\n",
            r"^\S+ \S+: row 2: .* finite number \('inf'\)\n.*: row 3: .* \('-inf'\)$",
        ),
        ("key,score\na,0.1\nb,many\n", r"row 3: its score is not a finite number"),
        (
            'key,score\na,"0,1"\n',
            r"row 2: its score '0,1' has a decimal comma; write a",
        ),
        ("key,score\na,5.0%\n", r"row 2: its score '5.0%' is a percentage; write a sh"),
        ("key,score\na,50\nb,1\n", r"50 is not a probability; divide percentages by"),
        ("key,score\na,-1.5\nb,-9\n", r"-1.5 is not .* --score_kind easiness if they"),
        ("key,score\na,150\nb,1\n", r"150 is not a probability; give another"),
        ("key,score\na,0.1\n,0.2\n", r"row 3: has no image name"),
        ("key,score\na,0.1\nx/a.JPEG,0.2\n", r"row 3: a is repeated"),
        ("image,score\na,0.1\n", r"has no column key; it has image, score"),
        ("key,score\n", r"has no rows"),
        ("", r"cannot be read \(is empty\)"),
        ("key;score\na;0,1\n", r"cannot be read \(line 1: .* separated by semicolons"),
        ("key\tscore\na\t0.1\n", r"separated by tabs, not by commas"),
        (
            "# of a model\nkey,score\na,1\n",
            r"no column key, score; it has # of a model",
        ),
        ("key,score,score\na,1,1\n", r"has several columns named score"),
    ],
    ids=[
        "above one",
        "below zero",
        "nan",
        "infinite",
        "text",
        "decimal comma",
        "percent",
        "percent without sign",
        "logarithms",
        "neither",
        "no key",
        "twice",
        "no column",
        "no rows",
        "empty",
        "semicolons",
        "tabs",
        "comment",
        "column twice",
    ],
)
def test_invalid_rows_are_reported_with_their_numbers(tmp_path, text, message):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        _read(path)


def test_all_invalid_rows_are_reported_at_once(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("key,score\n" + "".join(f"k{n},2\n" for n in range(30)))
    with pytest.raises(UsageError) as caught:
        _read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("and 20 more rows")


def test_names_of_images_may_have_dots(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("key,score\nimg.1,0.1\nimg.2,0.2\na.b.jpg,0.3\n")
    assert _read(path)["key"].to_pylist() == ["img.1", "img.2", "a.b"]


@pytest.mark.parametrize(
    "text",
    [
        "key,score\n{}_1,0.1\n{}_2,1\n",
        '\ufeffkey,score\r\n"{}_1","0.1"\r\n"{}_2","1"\r\n',
        "key , score\n{}_1 , 0.1\n{}_2 , 1\n",
        ",key,score\n0,{}_1,0.1\n1,{}_2,1\n",
        "sep=,\nscore,key\n0.1,{}_1\n1,{}_2\n",
        "key,score\nD:\\train\\x\\{}_1.JPEG,0.1\nD:/train/x\\{}_2.jpg,1\n",
        "key,score\ntrain/{0}_1_{0}.JPEG,0.1\n{0}_2_{0},1\n",
    ],
    ids=["plain", "Excel", "spaces", "index", "sep", "Windows paths", "Hugging Face"],
)
def test_tables_of_other_programs_give_the_same_rows(tmp_path, text):
    path = tmp_path / "scores.csv"
    wnid = "n01440764"
    path.write_text(text.format(wnid, wnid), newline="")
    assert [(r["key"], r["wnid"], r["percent"]) for r in _read(path).to_pylist()] == [
        (f"{wnid}_1", wnid, 10),
        (f"{wnid}_2", wnid, 100),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_other_encodings_are_named(tmp_path, encoding):
    path = tmp_path / "scores.csv"
    path.write_bytes("key,score\nfenêtre,0.1\n".encode(encoding))
    name = "WINDOWS-1252" if encoding == "cp1252" else "UTF-16"
    with pytest.raises(UsageError, match=f"iconv -f {name} -t UTF-8"):
        _read(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"key": [["a"]], "score": [0.5]}), "cannot be read"),
        (pa.table({"key": [b"\xff"], "score": [0.5]}), "cannot be read"),
        (
            pa.Table.from_arrays([pa.array(["a"])] * 2, names=["key", "key"]),
            "key",
        ),
    ],
    ids=["lists", "bytes", "twice"],
)
def test_invalid_columns_are_errors(tmp_path, table, message):
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.raises(UsageError, match=message):
        _read(tmp_path / "scores.parquet")


@pytest.mark.parametrize("name", ["gone.csv", "scores.txt"])
def test_other_files_are_errors(tmp_path, name):
    (tmp_path / "scores.txt").write_text("key,score\n")
    with pytest.raises(UsageError, match=f"--scores .*{name}"):
        _read(tmp_path / name)
