import csv
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest

from pipelines import confusion
from tests import making_predictions
from transforms import npz, seeds
from transforms.confusion import matrix as confusion_matrix
from transforms.labels.classes import load_classes
from transforms.labels.validation import official_labels
from transforms.predictions import table as predictions_table

WNIDS = [info.wnid for info in load_classes()]
NAMES = ("confusion", "confusion_a", "confusion_b")


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """Two models that confuse every second class with the next, one of them rarely."""
    folder = tmp_path_factory.mktemp("predictions")
    index = {info.wnid: info.class_index for info in load_classes()}
    true = np.array([index[wnid] for wnid in official_labels().values()])
    for name, every in (("first", 1), ("second", 3)):
        is_wrong = (true % 2 == 0) & (np.arange(len(true)) % every == 0)
        top = (true + is_wrong)[:, None] + np.arange(5)
        data = npz.to_npz_bytes({"top5": (top % 1000).astype(np.uint16)})
        (folder / f"{name}.npz").write_bytes(data)
    return folder


def _run(predictions, output, *words, names=("first",)):
    files = [
        w for name in names for w in ("--predictions", f"{predictions}/{name}.npz")
    ]
    confusion.main([*files, "--output", str(output), *words])


def _read(folder):
    return [
        confusion_matrix.read_confusion(str(folder / f"{name}.npz")) for name in NAMES
    ]


def test_job_writes_matrix_halves_pairs_and_picture(predictions, tmp_path, capsys):
    _run(predictions, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "out")
    assert err == "25000 of 50000 images are misclassified by first\n"
    whole, a, b = _read(tmp_path / "out")
    assert whole.matrix[0, 1] == 50
    assert (a.matrix + b.matrix == whole.matrix).all()
    assert set(a.num_images.tolist()) == set(b.num_images.tolist()) == {25}
    with (tmp_path / "out" / "confusion.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["name_a"], first["name_b"]) == ("tench", "goldfish")
    assert (first["rate"], first["count"]) == ("0.5", "50")
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 10_000
    figure = tmp_path / "out/figures/confusion"
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert "Most confused pairs of classes" in figure.with_suffix(".svg").read_text()


def test_a_job_of_this_machine_ends_also_if_nobody_waits(predictions, tmp_path, capsys):
    _run(predictions, tmp_path / "out", "--no_wait_until_finish")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "out")
    assert err == "25000 of 50000 images are misclassified by first\n"


def test_models_at_chance_are_named_among_good_ones(predictions, tmp_path, capsys):
    """Classes in another order than that of the wnids."""
    with np.load(predictions / "second.npz") as file:
        top5 = 999 - file["top5"]
    np.savez(predictions / "reversed.npz", top5=top5)
    for words in ([], ["--soft"]):
        _run(predictions, tmp_path, *words, names=("second", "reversed"))
        warnings = [w for w in capsys.readouterr().err.splitlines() if "warning" in w]
        (warning,) = warnings
        assert warning.startswith(
            "warning: reversed is no better than chance: its likeliest class is "
            "correct for 0 of 50000 images (0.00%, chance 0.10%); its classes are"
        )


def test_two_runs_write_the_same_bytes(predictions, tmp_path):
    for folder in ("one", "two"):
        _run(predictions, tmp_path / folder, "--soft", "--seed", "7")
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    written = sorted(path.relative_to(tmp_path / "one") for path in files)
    assert len(written) == 7
    for name in written:
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_several_models_are_summed(predictions, tmp_path):
    _run(predictions, tmp_path, names=("first", "second"))
    whole = confusion_matrix.read_confusion(str(tmp_path / "confusion.npz"))
    assert whole.models == ("first", "second")
    assert set(whole.num_images.tolist()) == {100}
    assert 50 < whole.matrix[0, 1] < 100


def test_soft_counts_and_seed_have_an_effect(predictions, tmp_path):
    for name, words in {"plain": [], "soft": ["--soft"], "seed": ["--seed=1"]}.items():
        _run(predictions, tmp_path / name, *words)

    def differs(name, file):
        plain = (tmp_path / "plain" / f"{file}.npz").read_bytes()
        return (tmp_path / name / f"{file}.npz").read_bytes() != plain

    assert differs("soft", "confusion")
    assert not differs("seed", "confusion")


def test_all_problems_are_reported_and_nothing_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        confusion.main(
            f"--predictions a.csv --predictions {tmp_path}/b.npz "
            f"--predictions c.parquet --output {tmp_path}/out".split()
        )
    assert caught.value.code == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("error: --predictions a.csv: must end in .npz or .parquet")
    assert third.startswith("error: --predictions c.parquet: no such file; create it")
    assert second.startswith(f"error: --predictions {tmp_path}/b.npz: no such file")
    assert not (tmp_path / "out").exists()


def test_flags_are_checked(predictions, capsys):
    with pytest.raises(SystemExit) as caught:
        _run(predictions, __file__, "--sotf", names=("first", "first"))
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "--sotf: unknown flag; did you mean --soft?" in err
    assert f"--output {__file__}: is a file, or inside one; name a folder" in err


CLASSES = WNIDS[:5]


def _predict(number, num_outputs):
    """Draw a prediction for an image: the correct class, the next one, or any."""
    rng = np.random.default_rng(number)
    softmax = rng.dirichlet(np.full(num_outputs, 0.3))
    softmax[(number + rng.integers(0, 2)) % len(CLASSES)] += rng.integers(0, 3)
    return softmax / softmax.sum()


def _write(path, numbers, *, outputs=CLASSES, model_id="f0", seen=None, keep=True):
    model = making_predictions.scored(outputs, model_id=model_id)
    keys = [f"k{number}" for number in numbers]
    wnids = [CLASSES[number % len(CLASSES)] for number in numbers]
    softmax = [_predict(number, len(outputs)) for number in numbers]
    table = making_predictions.rows(model, keys, wnids, softmax, seen=seen, keep=keep)
    making_predictions.write(path, [model], table)
    return f"--predictions={path}"


def _halve(seed):
    """Halve the images k0…k99 in plain Python."""
    of_class = defaultdict(list)
    for number in range(100):
        of_class[number % len(CLASSES)].append(f"k{number}")
    for keys in of_class.values():
        keys.sort(key=lambda key: seeds.order(seed, "fold", key))
    return {key for keys in of_class.values() for key in keys[: -(-len(keys) // 2)]}


@pytest.mark.parametrize("is_soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("num_outputs", [5, 9], ids=["same_classes", "more_classes"])
def test_matrices_agree_with_a_loop(tmp_path, monkeypatch, is_soft, num_outputs):
    monkeypatch.setattr(predictions_table, "ROWS_IN_GROUP", 30)
    file = _write(tmp_path / "p.parquet", range(100), outputs=WNIDS[:num_outputs])
    words = ["--soft"] if is_soft else []
    confusion.main([file, f"--output={tmp_path}/out", "--seed=4", *words])
    in_a = _halve(4)
    expected = np.zeros((2, 5, 5))
    for number in range(100):
        predicted = _predict(number, num_outputs)[:5]
        predicted = (
            predicted.astype(np.float16) if is_soft else np.eye(5)[predicted.argmax()]
        )
        expected[int(f"k{number}" not in in_a), number % 5] += predicted
    whole, a, b = _read(tmp_path / "out")
    assert whole.wnids == tuple(CLASSES)
    for found, cells in ((a, expected[0]), (b, expected[1]), (whole, expected.sum(0))):
        np.testing.assert_allclose(found.matrix, cells, rtol=1e-3, atol=1e-6)
        assert set(found.num_images.tolist()) <= {10, 20}


def test_workers_row_groups_and_file_order_change_no_byte(tmp_path, monkeypatch):
    def run(name, files, *words):
        confusion.main([*files, f"--output={tmp_path}/{name}", "--soft", *words])
        return [(tmp_path / name / f"{file}.npz").read_bytes() for file in NAMES]

    one = _write(tmp_path / "one.parquet", range(100))
    two = _write(tmp_path / "two.parquet", range(50), model_id="f1")
    expected = run("one_worker", [one, two])
    monkeypatch.setattr(predictions_table, "ROWS_IN_GROUP", 9)
    _write(tmp_path / "one.parquet", range(99, -1, -1))
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    assert run("workers", [two, one], *workers) == expected


def test_halves_of_a_cross_fit_are_its_folds(tmp_path):
    """Both models have one name; each scored the fold that the other was trained on."""
    in_a = {int(key[1:]) for key in _halve(0)}
    files = [
        _write(tmp_path / "a.parquet", sorted(in_a), model_id="of_b", seen=False),
        _write(tmp_path / "b.parquet", sorted({*range(100)} - in_a), model_id="of_a"),
    ]
    confusion.main([*files, f"--output={tmp_path}/both"])
    both = _read(tmp_path / "both")
    for file, name, half in zip(files, "ab", both[1:], strict=True):
        confusion.main([file, f"--output={tmp_path}/{name}"])
        alone = _read(tmp_path / name)[0]
        assert (alone.matrix == half.matrix).all()
        assert (alone.num_images == half.num_images).all()
    assert both[0].models == ("cnn",)


def test_each_file_is_counted_by_its_columns(predictions, tmp_path, capsys):
    kept = _write(tmp_path / "kept.parquet", range(20))
    _run(predictions, tmp_path / "out", "--soft", kept)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"counted by probabilities: {tmp_path}/kept.parquet",
        f"counted by rank, without probabilities: {predictions}/first.npz",
    ]
    whole = _read(tmp_path / "out")[0]
    assert whole.num_images[:6].tolist() == [54] * 5 + [50]
    assert (whole.matrix.sum(axis=1) <= whole.num_images * (1 + 1e-12)).all()


def test_caveats_of_a_matrix_are_reported(tmp_path, capsys):
    file = _write(
        tmp_path / "p.parquet", range(100), outputs=WNIDS[:200], seen=True, keep=False
    )
    confusion.main([file, f"--output={tmp_path}/out"])
    seen, unknown, errors = capsys.readouterr().err.splitlines()
    assert seen.startswith(
        "warning: models were trained on 100 of 100 images (100.00%): confusion on "
        "training images is too low"
    )
    assert unknown.startswith("warning: no prediction is usable for ")
    assert unknown.endswith("keep all probabilities (--keep_probabilities of predict)")
    whole = _read(tmp_path / "out")[0]
    num_usable = 100 - int(unknown.split()[6])
    assert whole.matrix.sum() == num_usable
    num_errors = whole.num_errors
    scope = "among the 5 classes of the images"
    assert errors == (
        f"{num_errors:.0f} of {num_usable} images with usable predictions are "
        f"misclassified by cnn, {scope}"
    )
    assert (
        f"Confusion of cnn: {num_errors / num_usable:.1%} of images with usable "
        f"predictions go to another class {scope}"
    ) in (tmp_path / "out/figures/confusion.svg").read_text()


def test_invalid_predictions_leave_no_files(tmp_path, capsys):
    model = making_predictions.scored(CLASSES)
    rows = making_predictions.rows(
        model, ["a", "b"], CLASSES[:2], np.full((2, 5), 0.5), keep=True
    )
    path = making_predictions.write(tmp_path / "p.parquet", [model], rows)
    with pytest.raises(SystemExit) as caught:
        confusion.main([f"--predictions={path}", f"--output={tmp_path}/out", "--soft"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {path}: the sum of probabilities of image a is not 1; make it again "
        "with python -m pipelines.predict\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


def test_help_imports_no_beam():
    code = (
        "import sys\nfrom pipelines import confusion\n"
        "try: confusion.main(['--help'])\n"
        "finally: assert 'apache_beam' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"passed to Apache Beam, e.g. --runner" in done.stdout
