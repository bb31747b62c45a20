from collections import Counter

import numpy as np
import pytest

from transforms import confusion_tally, npz, seeds
from transforms.confusion_tally import Predictions
from transforms.labels.classes import load_classes
from transforms.labels.validation import official_labels
from transforms.records import UsageError

WNIDS = ("n01440764", "n01443537", "n01484850", "n01514859", "n01514668")
TRUE = np.array([0, 0, 0, 1, 1, 2])
TOP = np.array([np.roll(np.arange(5), shift) for shift in (0, 1, 0, 4, 0, 2)])
FOUND = Predictions("alexnet", WNIDS, tuple("abcdef"), TRUE, TOP)


def test_hard_counts():
    confusion = confusion_tally.tally([FOUND], is_soft=False)
    assert confusion.matrix[0].tolist() == [2, 0, 0, 0, 1]
    assert confusion.matrix[1].tolist() == [1, 1, 0, 0, 0]
    assert confusion.matrix[2].tolist() == [0, 0, 0, 1, 0]
    assert confusion.num_images.tolist() == [3, 2, 1, 0, 0]
    assert confusion.models == ("alexnet",)


def test_soft_counts_halve_from_rank_to_rank():
    confusion = confusion_tally.tally([FOUND], is_soft=True)
    np.testing.assert_allclose(confusion.matrix.sum(axis=1), confusion.num_images)
    np.testing.assert_allclose(
        confusion.matrix[2][TOP[5]] * 31, [16, 8, 4, 2, 1], rtol=1e-15
    )


def test_models_are_summed():
    once = confusion_tally.tally([FOUND], is_soft=False)
    twice = confusion_tally.tally([FOUND, FOUND], is_soft=False)
    assert (twice.matrix == 2 * once.matrix).all()
    assert (twice.num_images == 2 * once.num_images).all()


@pytest.mark.parametrize("is_soft", [False, True], ids=["hard", "soft"])
def test_halves_add_up_to_the_whole(is_soft):
    half = confusion_tally.halve(FOUND, seed=0)
    whole = confusion_tally.tally([FOUND], is_soft=is_soft)
    halves = [
        confusion_tally.tally([FOUND], is_soft=is_soft, chosen=[chosen])
        for chosen in (half, ~half)
    ]
    np.testing.assert_allclose(halves[0].matrix + halves[1].matrix, whole.matrix)
    assert (halves[0].num_images + halves[1].num_images == whole.num_images).all()
    assert halves[0].num_images.tolist() == [2, 1, 1, 0, 0]


def test_halves_are_those_of_two_folds():
    half = confusion_tally.halve(FOUND, seed=3)
    for label, count in Counter(TRUE.tolist()).items():
        of_class = [key for key, t in zip(FOUND.keys, TRUE, strict=True) if t == label]
        of_class.sort(key=lambda key: seeds.order(3, "fold", key))
        in_a = {k for k, a in zip(FOUND.keys, half, strict=True) if a} & set(of_class)
        assert in_a == set(of_class[: -(-count // 2)])


def _write(tmp_path, name="m.npz", **arrays):
    (tmp_path / name).write_bytes(npz.to_bytes(arrays))
    return str(tmp_path / name)


def test_official_top5_is_read(tmp_path):
    top = np.zeros((50_000, 5), np.uint16) + np.arange(5, dtype=np.uint16)
    found = confusion_tally.read_predictions(_write(tmp_path, "vgg16.npz", top5=top))
    assert found.model == "vgg16"
    assert found.keys[0] == "ILSVRC2012_val_00000001"
    assert found.wnids == tuple(info.wnid for info in load_classes())
    assert found.wnids[found.true[7]] == official_labels()["ILSVRC2012_val_00000008"]
    assert np.bincount(found.true).tolist() == [50] * 1000


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"top1": np.arange(5)}, "lacks the array 'top5'"),
        ({"top5": np.zeros((9, 5), int)}, r"top5 is int64 of shape \(9, 5\)"),
        ({"top5": np.zeros((50_000, 5))}, "top5 is float64 of shape"),
        ({"top5": np.full((50_000, 5), 1000)}, "top5 holds class 1000 of 1000, from 0"),
    ],
    ids=["missing", "shape", "kind", "range"],
)
def test_other_arrays_are_refused(tmp_path, arrays, problem):
    with pytest.raises(UsageError, match=problem):
        confusion_tally.read_predictions(_write(tmp_path, **arrays))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"p\.parquet: predictions end in \.npz"):
        confusion_tally.read_predictions("p.parquet")
    with pytest.raises(UsageError, match=r"m\.npz: No such file"):
        confusion_tally.read_predictions(str(tmp_path / "m.npz"))
    large = tmp_path / "m.npz"
    large.write_bytes(bytes(2_100_000))
    with pytest.raises(UsageError, match="is larger than 2001000 bytes; give an npz"):
        confusion_tally.read_predictions(str(large))
