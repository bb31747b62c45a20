import pytest

from transforms.evaluation.by_accuracies import evaluate_accuracies, read_table
from transforms.records import UsageError


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def tables(tmp_path):
    """Two tables that contain `wide` with two image sizes."""
    full = write(
        tmp_path / "full.csv",
        "model,img_size,top1,params",
        'net,224,70.5,"1,000"',
        "wide,224,75.0,30",
        "wide,288,76.0,30",
        "deep,224,80.0,40",
        "lone,224,81.0,40",
    )
    subset = write(
        tmp_path / "subset.csv",
        "img_size,model,top1,mAP",
        "288,wide,50.0,0.2",
        "224,wide,51.0,0.3",
        "224,net,40.0,0.1",
        "224,deep,60.0,0.4",
    )
    return [full, subset]


def test_rows_are_joined_on_all_key_columns(tables):
    found = evaluate_accuracies(tables)
    assert found.key_columns == ("model", "img_size")
    assert found.models == ("net · 224", "wide · 224", "wide · 288", "deep · 224")
    assert found.full.tolist() == [70.5, 75, 76, 80]
    assert found.subset.tolist() == [40, 51, 50, 60]
    assert found.ranks.tau == pytest.approx(4 / 6)
    assert found.names == ("top1 of full", "top1 of subset")
    (warning,) = found.warnings
    assert warning == (
        "1 rows of full.csv are missing in the other table and are left out: lone · 224"
    )


def test_a_column_may_be_any_score(tables):
    found = evaluate_accuracies(tables, columns=["top1", "mAP"])
    assert found.names == ("top1", "mAP")
    assert found.subset.tolist() == [0.1, 0.3, 0.2, 0.4]


def test_one_table_may_hold_both_columns(tables):
    found = evaluate_accuracies(tables[1:], columns=["mAP", "top1"])
    assert found.ranks.tau == 1
    assert found.warnings == ()


def test_repeated_keys_are_rejected_with_the_columns_that_would_help(tables):
    with pytest.raises(UsageError) as caught:
        evaluate_accuracies(tables, key_columns=["model"])
    text = str(caught.value)
    assert "do not identify the 5 rows of" in text
    assert "4 keys are distinct, 1 are repeated, e.g. wide" in text
    assert text.endswith("give --key_columns model,img_size")


def test_indistinguishable_rows_are_rejected(tmp_path):
    path = write(tmp_path / "t.csv", "model,top1", "net,1", "net,2", "deep,3")
    with pytest.raises(UsageError, match="keep one row of each"):
        evaluate_accuracies([path, path])


@pytest.mark.parametrize(
    ("lines", "settings", "words"),
    [
        (["name,top1", "net,1"], {}, "--key_columns: is required.*of name, top1"),
        (
            ["model,top1", "net,1"],
            {"key_columns": ["size"]},
            "size: .* has no such column",
        ),
        (["model,a,b", "net,1,2"], {}, "--columns: is required for .*of a, b"),
        (
            ["model,a", "net,x"],
            {"columns": ["a"]},
            "1 rows of .*no number in it, e.g. 'x'",
        ),
        (
            ["model,a", "net,1"],
            {"columns": ["b"]},
            "--columns b: .*no such column; its .* are a",
        ),
        (["model,top1", "net,1", "deep,2"], {}, "2 rows have the same model"),
        (["model,top1", "net,nan"], {}, "--columns"),
        (["model,top1"], {}, "has no rows"),
        (["model,top1", "net"], {}, "line 2: has 1 fields where the header has 2"),
        (["model,model", "net,1"], {}, "column 'model' twice"),
        (["model,top1", 'net,"1'], {}, "check the quotes"),
    ],
)
def test_tables_that_cannot_be_joined_are_rejected(tmp_path, lines, settings, words):
    path = write(tmp_path / "t.csv", *lines)
    other = write(tmp_path / "u.csv", *lines)
    with pytest.raises(UsageError, match=words):
        evaluate_accuracies([path, other], **settings)


def test_one_table_needs_two_columns(tables):
    with pytest.raises(
        UsageError, match="--columns: one table needs two columns, of top1, mAP"
    ):
        evaluate_accuracies(tables[1:])


def test_missing_or_binary_file_is_rejected(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(UsageError, match=r"gone\.csv: no such file"):
        read_table(str(tmp_path / "gone.csv"))
    with pytest.raises(UsageError, match="is not UTF-8: line 1 has the byte 0xff"):
        read_table(str(tmp_path / "binary"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("other", "tau", "rho"),
    [
        ("imagenetv2-matched-frequency", 0.9424, 0.9950),
        ("imagenet-real", 0.9287, 0.9924),
        ("sketch", 0.8056, 0.9457),
    ],
)
def test_published_accuracies_rank_alike_as_measured(real_data, other, tau, rho):
    folder = real_data / "accuracies"
    paths = [f"{folder}/timm-results-{name}.csv" for name in ("imagenet", other)]
    found = evaluate_accuracies(paths)
    assert found.key_columns == ("model", "img_size", "crop_pct")
    assert len(found.models) == 1556
    assert found.ranks.tau == pytest.approx(tau, abs=5e-5)
    assert found.ranks.spearman == pytest.approx(rho, abs=5e-5)
    with pytest.raises(UsageError, match="1266 keys are distinct"):
        evaluate_accuracies(paths, key_columns=["model"])
