"""Regression tests for groupings."""

import json

import numpy as np
import pytest

from pipelines import group
from transforms import npz
from transforms.labels.classes import load_classes

WNIDS = [info.wnid for info in load_classes()]


def _group(tmp_path, *flags):
    group.main([*map(str, flags), f"--output={tmp_path / 'out'}"])
    return json.loads((tmp_path / "out" / "groups.json").read_bytes())


def _write_matrix(path, matrix, num_images):
    arrays = {
        "matrix": matrix.astype(np.int32),
        "wnids": np.array(WNIDS, "<U9"),
        "num_images": np.array(num_images, np.int64),
    }
    path.write_bytes(npz.to_npz_bytes(arrays))
    return path


@pytest.fixture
def matrix(tmp_path):
    """Neighbours are confused; the first classes have a thousand times the images."""
    counts = np.diag(np.full(1000, 9)) + np.eye(1000, k=1) + np.eye(1000, k=-1)
    many = np.where(np.arange(1000) < 10, 1000, 1)
    counts = counts * many[:, None]
    return _write_matrix(tmp_path / "m.npz", counts, counts.sum(axis=1))


def test_random_classes_need_no_index_even_with_m(tmp_path):
    figures = _group(tmp_path, "--preset=n100_m500", "--grouping=random_classes")
    assert figures["sizes"]["num_groups"] == 100


def test_note_explains_the_bound(tmp_path, matrix, capsys):
    flags = ["--grouping=confusion", f"--confusion={matrix}", "--num_groups=100"]
    quality = _group(tmp_path, *flags)["quality"]
    assert quality["captured_rate"] <= quality["bound"]
    assert (
        f"hold {quality['captured_rate']:.1%} of the rates" in capsys.readouterr().err
    )


def test_heldout_images_that_are_not_held_out_are_an_error(tmp_path, matrix, capsys):
    flags = ["--grouping=confusion", f"--confusion={matrix}", "--num_groups=100"]
    with pytest.raises(SystemExit) as ended:
        _group(tmp_path, *flags, f"--confusion_heldout={matrix}")
    assert ended.value.code == 2
    assert "give confusion_a.npz and confusion_b.npz" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["{}.0", "0{}", "{}"])
def test_group_numbers_in_any_spreadsheet_notation_are_read(tmp_path, form):
    path = tmp_path / "mine.csv"
    rows = (f"{wnid},{form.format(n % 3)}\n" for n, wnid in enumerate(WNIDS))
    path.write_text("wnid,group\n" + "".join(rows))
    figures = _group(tmp_path, "--grouping=manual", f"--groups={path}")
    assert [g["name"] for g in figures["groups"]] == ["group 0", "group 1", "group 2"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--images_per_group=-4"], "--images_per_group -4: must be at least 1"),
        (["--min_validation_images=-4"], "--min_validation_images -4: must be at lea"),
        (["--num_groups=1"], "--num_groups 1: must be at least 2"),
        (["--predictions=a.npz"], "--predictions: applies only with --compare"),
        (["--export_starter=."], "--export_starter .: is a folder; name a file"),
    ],
)
def test_flags_are_checked_as_build_checks_them(tmp_path, capsys, flags, expected):
    with pytest.raises(SystemExit) as ended:
        _group(tmp_path, "--grouping=wordnet", *flags)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_comparison_of_one_list_of_classes_is_an_error(capsys):
    with pytest.raises(SystemExit) as ended:
        group.main(["--compare", "--preset=imagenette", "--predictions=a.npz"])
    assert ended.value.code == 2
    assert "a list of classes without an N to compare at" in capsys.readouterr().err
