import base64
import dataclasses
import io
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines import difficulty
from pipelines import index as index_job
from tests import making_predictions
from transforms.difficulty import table as difficulty_table
from transforms.labels.classes import load_classes
from transforms.predictions import table as predictions_table
from transforms.predictions.table import ModelClass, ScoredModel, Scores
from transforms.reports.difficulty import choose_images

MODEL = ScoredModel(
    model="cnn",
    model_id="a" * 64,
    classes=(
        ModelClass("beagle", ("n02088364",)),
        ModelClass("tiger cat", ("n02123159",)),
    ),
    trained_on_subset_id="s",
    trained_on_split="fold_b",
    correct="class",
)
OTHER = dataclasses.replace(MODEL, model_id="b" * 64, trained_on_split="fold_a")


def _write(path, p_correct, *, model=MODEL, split="fold_a", seen=False, first=0):
    count = len(p_correct)
    wnids = [MODEL.classes[n % 2].wnids[0] for n in range(first, first + count)]
    table = predictions_table.make_table(
        Scores(np.array(p_correct, np.float32), np.zeros((count, 2), np.uint16), None),
        model=model,
        keys=[f"{wnid}_{n}" for n, wnid in enumerate(wnids, start=first)],
        splits=[split] * count,
        wnids=wnids,
        seen=[seen] * count,
    )
    part = path.with_suffix(".part")
    predictions_table.write_part(table, str(part))
    predictions_table.merge_parts([str(part)], str(path), [model])
    return str(path)


@pytest.fixture
def halves(tmp_path):
    return [
        _write(tmp_path / "a.parquet", [0.125, 0.5, 0.994], first=0),
        _write(
            tmp_path / "b.parquet", [0, 1 + 5e-7], first=3, model=OTHER, split="fold_b"
        ),
    ]


def _run(paths, output, *words):
    files = [word for path in paths for word in ("--predictions", path)]
    difficulty.main([*files, "--output", str(output), *words])


def _fails(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        difficulty.main([str(word) for word in words])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_halves_are_joined_to_one_row_per_image(halves, tmp_path, capsys):
    _run(halves, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "out")
    assert "correct class" in err
    table = pq.read_table(tmp_path / "out" / "difficulty.parquet")
    assert table.schema.equals(difficulty_table.SCHEMA)
    rows = {row["key"]: row for row in table.to_pylist()}
    assert list(rows) == sorted(rows)
    assert {
        key: (r["percent"], r["fold"], r["model_id"][0]) for key, r in rows.items()
    } == {
        "n02088364_0": (13, "a", "a"),
        "n02123159_1": (50, "a", "a"),
        "n02088364_2": (99, "a", "a"),
        "n02123159_3": (0, "b", "b"),
        "n02088364_4": (100, "b", "b"),
    }


def test_page_and_picture_show_the_histogram(halves, tmp_path):
    _run(halves, tmp_path / "out")
    page = (tmp_path / "out" / "difficulty.html").read_text()
    assert "Fold a" in page
    assert "tiger cat" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    picture = ET.parse(tmp_path / "out" / "difficulty.svg").getroot()
    bars = [e for e in picture.iter() if e.tag.endswith("title") and "%" in e.text]
    assert {bar.text.split(" %")[0] for bar in bars} == {"0", "13", "50", "99", "100"}


def _write_top(path, top, p_correct, num_classes=20):
    """Write predictions of 200 images of so many classes, with these top outputs."""
    wnids = [info.wnid for info in load_classes()[:num_classes]]
    model = making_predictions.scored(wnids)
    truth = np.arange(200) % num_classes
    top5 = np.repeat(top(truth)[:, None] % num_classes, 5, axis=1).astype(np.uint16)
    table = predictions_table.make_table(
        Scores(np.full(200, p_correct, np.float32), top5, None),
        model=model,
        keys=[f"k{number:03d}" for number in range(200)],
        splits=["train"] * 200,
        wnids=[wnids[number] for number in truth],
        seen=[False] * 200,
    )
    return making_predictions.write(path, [model], table)


@pytest.mark.parametrize(
    ("top", "p_correct", "warnings"),
    [
        (lambda truth: truth, 0.4, ["have the same p_correct, 40 %"]),
        (
            lambda truth: truth + 1,
            0.04,
            [
                "cnn is no better than chance: its likeliest class is correct for 0 of",
                "100.0% of the images have the same p_correct, 4 %, so difficulty",
            ],
        ),
        (
            lambda truth: truth,
            0.1,
            ["cnn ranks classes well, but gives the correct class a mean", "10 %"],
        ),
    ],
    ids=["equal", "order", "softmax"],
)
def test_predictions_that_tell_nothing_are_warned_of(
    tmp_path, capsys, top, p_correct, warnings
):
    path = _write_top(tmp_path / "p.parquet", top, p_correct)
    _run([path], tmp_path / "out")
    lines = [x for x in capsys.readouterr().err.splitlines() if "warning: " in x]
    assert len(lines) == len(warnings)
    page = (tmp_path / "out" / "difficulty.html").read_text()
    for line, warning in zip(lines, warnings, strict=True):
        assert warning in line
        assert warning in page


def test_scores_after_a_second_softmax_are_warned_of(tmp_path, capsys):
    scores = tmp_path / "scores.csv"
    rows = [f"n02088364_{n},{0.001 + n / 100_000:.6f}" for n in range(100)]
    scores.write_text("\n".join(["key,score", *rows]) + "\n")
    difficulty.main(["--scores", str(scores), "--output", str(tmp_path / "out")])
    assert "warning: 100.0% of the images have the same p_correct, 0 %" in (
        capsys.readouterr().err
    )


def test_two_runs_write_the_same_bytes(halves, tmp_path):
    for name, paths in (("one", halves), ("two", halves[::-1])):
        _run(paths, tmp_path / name)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".svg", ".pdf", ".parquet"}
    for path in files:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_images_seen_by_their_model_are_rejected(tmp_path, capsys):
    path = _write(tmp_path / "p.parquet", [0.5, 0.6], seen=True)
    err = _fails(capsys, "--predictions", path, "--output", tmp_path / "out")
    assert "2 of 2 images are in the training set of their model" in err
    assert not (tmp_path / "out").exists()


def test_images_scored_twice_are_rejected(halves, tmp_path, capsys):
    again = _write(tmp_path / "c.parquet", [0.5], model=OTHER)
    err = _fails(
        capsys, "--predictions", halves[0], "--predictions", again,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert "1 images have several predictions (n02088364_0), by 2 model(s)" in err


def test_unknown_training_data_is_reported(tmp_path, capsys):
    path = _write(tmp_path / "p.parquet", [0.5, 0.6], seen=None)
    _run([path], tmp_path / "out")
    assert "2 of 2 images may be in the training set" in capsys.readouterr().err


def test_differing_models_are_reported_with_their_means(halves, tmp_path, capsys):
    other = dataclasses.replace(OTHER, model="mlp", model_id="c" * 64)
    path = _write(tmp_path / "c.parquet", [0.5], model=other, first=9, split="fold_b")
    _run([halves[0], path], tmp_path / "out")
    err = capsys.readouterr().err
    assert "scored by different models (cnn, mlp)" in err
    assert "mean p_correct: 0.5397 of fold_a by aaaaaaaa, 0.5000 of fold_b by" in err


def test_scores_of_classes_and_groups_cannot_be_mixed(halves, tmp_path, capsys):
    coarse = dataclasses.replace(OTHER, correct="group", groups_sha256="g")
    other = _write(tmp_path / "c.parquet", [0.5], model=coarse, first=9)
    err = _fails(
        capsys, "--predictions", halves[0], "--predictions", other,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert "models predict different classes or groups" in err


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1], ids=str)
def test_values_that_are_no_probability_are_rejected(tmp_path, capsys, value):
    path = _write(tmp_path / "p.parquet", [0.5, value])
    err = _fails(capsys, "--predictions", path, "--output", tmp_path / "out")
    assert "p_correct of 1 images is not in [0, 1], the first n02123159_1" in err


def test_all_invalid_files_are_reported_at_once(tmp_path, capsys):
    (tmp_path / "b.parquet").write_bytes(b"no table")
    err = _fails(
        capsys, "--predictions", "gone.parquet",
        "--predictions", tmp_path / "b.parquet", "--output", tmp_path / "out",
    )  # fmt: skip
    assert len(err.splitlines()) == 2


def test_predictions_without_probabilities_are_named(tmp_path, capsys):
    path = making_predictions.write_top5(tmp_path)[0]
    err = _fails(capsys, "--predictions", path, "--output", tmp_path / "out")
    assert f"{path}: an .npz file holds the five most probable classes, witho" in err


def test_external_scores_are_imported_as_difficulty(tmp_path):
    scores = tmp_path / "el2n.csv"
    scores.write_text("key,score\nn02088364_1,0.2\nn02088364_2,1.3\n")
    difficulty.main(
        f"--scores {scores} --score_kind hardness --output {tmp_path}/out".split()
    )
    table = pq.read_table(tmp_path / "out" / "difficulty.parquet").to_pylist()
    assert [(r["key"], r["p_correct"]) for r in table] == [
        ("n02088364_1", 1.0),
        ("n02088364_2", 0.0),
    ]


def test_one_source_is_needed(tmp_path, capsys):
    assert "give either --predictions or --scores" in _fails(
        capsys, "--output", tmp_path / "out"
    )


def _score_images(folder, output, *words):
    """Score the images of a folder by their number and show them on the page."""
    paths = sorted(folder.rglob("*.JPEG"))
    rows = [f"{path.stem},{n / len(paths)}" for n, path in enumerate(paths)]
    scores = output.with_suffix(".csv")
    scores.write_text("\n".join(["key,score", *rows]))
    difficulty.main(["--scores", str(scores), "--output", str(output), *words])
    return paths, (output / "difficulty.html").read_text()


def test_page_shows_images_from_hard_to_easy(class_folders, tmp_path, capsys):
    output = tmp_path / "out"
    paths, page = _score_images(class_folders, output, f"--input={class_folders}")
    shown = re.findall(r'<img alt="(\w+)".*?base64,([^"]+)"', page)
    assert len(shown) == 5 * 8
    assert [key for key, _ in shown[:8]] == [path.stem for path in paths[:8]]
    assert [key for key, _ in shown[-8:]] == [path.stem for path in paths[-8:]]
    for _, data in shown:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (128, 128)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "not available" not in page
    assert "cannot be read" not in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named_on_the_page(
    class_folders, tmp_path, capsys
):
    folder = tmp_path / "copy"
    shutil.copytree(class_folders, folder)
    index = tmp_path / "index.parquet"
    index_job.main([f"--input={folder}", f"--output={index}"])
    first, second, *_ = sorted(folder.rglob("*.JPEG"))
    first.write_bytes(b"no image")
    second.unlink()
    paths, page = _score_images(class_folders, tmp_path / "out", f"--input={index}")
    assert paths[:2] == [
        class_folders / path.relative_to(folder) for path in (first, second)
    ]
    assert page.count('<div class="missing">not available</div>') == 2
    message = "warning: 2 of 40 images to show are not in --input or cannot be read"
    assert message in page
    assert message in capsys.readouterr().err


def test_an_invalid_input_is_an_error(tmp_path, capsys):
    (tmp_path / "scores.csv").write_text("key,score\nn02088364_1,0.2\n")
    words = ["--scores", tmp_path / "scores.csv", "--output", tmp_path / "out"]
    assert "no such file or folder" in _fails(capsys, *words, "--input", "nowhere")
    assert "applies only with --input" in _fails(capsys, *words, "--class_list", "x")


def test_images_of_equal_difficulty_are_spread_over_their_keys():
    keys = [f"k{n:03d}" for n in range(100)]
    table = pa.table({"key": keys, "wnid": [""] * 100, "p_correct": [0.5] * 100})
    for strip in choose_images(table):
        numbers = [int(image["key"][1:]) for image in strip.images]
        assert (numbers[0], numbers[-1], len(set(numbers))) == (0, 99, 8)
    few = choose_images(table.slice(0, 3))
    assert [len(strip.images) for strip in few] == [1, 1]
