import csv

import numpy as np
import pytest

from pipelines import confusion
from transforms.confusion import confusion_matrix, npz
from transforms.labels.classes import load_classes
from transforms.labels.validation import official_labels


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """Two models that take every second class for the next, one of them at times."""
    folder = tmp_path_factory.mktemp("predictions")
    index = {info.wnid: info.class_index for info in load_classes()}
    true = np.array([index[wnid] for wnid in official_labels().values()])
    for name, every in (("first", 1), ("second", 3)):
        is_wrong = (true % 2 == 0) & (np.arange(len(true)) % every == 0)
        top = (true + is_wrong)[:, None] + np.arange(5)
        data = npz.to_bytes({"top5": (top % 1000).astype(np.uint16)})
        (folder / f"{name}.npz").write_bytes(data)
    return folder


def _run(predictions, output, *words, names=("first",)):
    files = [
        w for name in names for w in ("--predictions", f"{predictions}/{name}.npz")
    ]
    confusion.main([*files, "--output", str(output), *words])


def test_job_writes_matrix_halves_pairs_and_picture(predictions, tmp_path, capsys):
    _run(predictions, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "out")
    assert err == "25000 of 50000 images are taken for another class, by first\n"
    names = ["confusion", "confusion_a", "confusion_b"]
    whole, a, b = (
        confusion_matrix.read(str(tmp_path / "out" / f"{name}.npz")) for name in names
    )
    assert whole.matrix[0, 1] == 50
    assert (a.matrix + b.matrix == whole.matrix).all()
    assert set(a.num_images.tolist()) == set(b.num_images.tolist()) == {25}
    with (tmp_path / "out" / "confusion.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["name_a"], first["name_b"]) == ("tench", "goldfish")
    assert (first["rate"], first["count"]) == ("0.5", "50")
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 10_000


def test_two_runs_write_the_same_bytes(predictions, tmp_path):
    for folder in ("one", "two"):
        _run(predictions, tmp_path / folder, "--soft", "--seed", "7")
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(written) == 5
    for name in written:
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_several_models_are_summed(predictions, tmp_path):
    _run(predictions, tmp_path, names=("first", "second"))
    whole = confusion_matrix.read(str(tmp_path / "confusion.npz"))
    assert whole.models == ("first", "second")
    assert set(whole.num_images.tolist()) == {100}
    assert 50 < whole.matrix[0, 1] < 100


def test_soft_counts_and_the_seed_change_what_they_should(predictions, tmp_path):
    for name, words in {"plain": [], "soft": ["--soft"], "seed": ["--seed=1"]}.items():
        _run(predictions, tmp_path / name, *words)

    def differs(name, file):
        plain = (tmp_path / "plain" / f"{file}.npz").read_bytes()
        return (tmp_path / name / f"{file}.npz").read_bytes() != plain

    assert differs("soft", "confusion")
    assert not differs("seed", "confusion")


def test_all_problems_are_told_and_nothing_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        confusion.main(
            f"--predictions a.parquet --predictions {tmp_path}/b.npz "
            f"--output {tmp_path}/out".split()
        )
    assert caught.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "error: --predictions a.parquet: predictions are files of .npz"
    )
    assert second.startswith(f"error: --predictions {tmp_path}/b.npz: no such file")
    assert not (tmp_path / "out").exists()


def test_flags_are_checked(predictions, capsys):
    with pytest.raises(SystemExit) as caught:
        _run(predictions, __file__, "--sotf", names=("first", "first"))
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "--sotf: unknown flag; did you mean --soft?" in err
    assert f"--output {__file__}: is a file; name a folder" in err
