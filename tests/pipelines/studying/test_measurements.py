import numpy as np
import pytest

from pipelines.commands import Places, Training
from pipelines.studying import measurements
from tests import making_curves
from transforms import storage
from transforms.evaluation import correctness
from transforms.evaluation.correctness import SetCorrectness

MODELS = ("cnn", "mlp")
CORRECT = {
    0: [[True, True, True, False], [True, False, False, False]],
    1: [[True, True, False, False], [True, True, True, False]],
}


def _read(tmp_path, name, seeds, keys=("a", "b", "c", "d")):
    places = Places(str(tmp_path))
    paths = []
    for seed in seeds:
        correct = np.array(CORRECT[seed])[:, : len(keys)]
        stored = SetCorrectness(MODELS, np.array(keys), np.zeros(len(keys)), correct)
        storage.write(
            f"{tmp_path}/{measurements.FOLDER}",
            f"{name}_seed{seed}.npz",
            correctness.to_npz(stored),
        )
        paths.append(str(tmp_path / f"{name}{seed}.csv"))
        curves = dict(zip(MODELS, correct.mean(axis=1)[:, None].tolist(), strict=True))
        rows = making_curves.rows(curves, subset_id=name, seed=seed)
        making_curves.write(tmp_path / f"{name}{seed}.csv", rows)
    training = Training(MODELS, tuple(seeds), epochs=1, words=())
    return measurements.read(places, name, training, paths)


@pytest.mark.parametrize("seeds", [(0, 1), (1, 0)])
def test_correctness_has_the_order_of_the_accuracies(tmp_path, seeds):
    found = _read(tmp_path, "full", seeds)
    assert found.finals.accuracies.tolist() == [[0.75, 0.25], [0.5, 0.75]]
    assert [one.correct.tolist() for one in found.by_seed] == [CORRECT[0], CORRECT[1]]


def test_accuracies_on_other_images_need_all_of_these(tmp_path):
    full = _read(tmp_path, "full", (0, 1))
    part = _read(tmp_path, "part", (0,), keys=("b", "c"))
    assert full.measure_on(part).tolist() == [[1.0, 0.0], [0.5, 1.0]]
    other = _read(tmp_path, "other", (0,), keys=("b", "x"))
    assert full.measure_on(other) is None
    nothing = part._replace(by_seed=())
    assert full.measure_on(nothing) is None
    assert nothing.measure_on(full) is None
