import numpy as np
import pytest

from transforms.records import JobError
from transforms.training import checkpoint
from transforms.training.checkpoint import Progress
from transforms.training.curves import CurveRow

ROW = CurveRow("small", "id", "linear", 0, 0.1, 1, 12, 10, 2, 1 / 3, 0.25)


def test_checkpoint_survives_a_round_trip(tmp_path):
    state = [np.float32(n) * np.ones((n, 2), np.float32) for n in range(12)]
    state.append(np.array(7, np.int64))
    path = checkpoint.path_of(str(tmp_path), 1)
    outputs = np.ones((2, 3), np.float32)
    checkpoint.write(path, Progress(rows=(ROW,), state=state, outputs=outputs))
    progress = checkpoint.read(path)
    assert progress.rows == (ROW,)
    assert np.array_equal(progress.outputs, outputs)
    assert len(progress.state) == len(state)
    for got, put in zip(progress.state, state, strict=True):
        assert got.dtype == put.dtype
        assert np.array_equal(got, put)
    assert [p.name for p in path.parent.iterdir()] == ["rate_1.npz"]


def test_nothing_is_read_before_an_epoch_has_ended(tmp_path):
    assert checkpoint.read(checkpoint.path_of(str(tmp_path), 0)) is None


def test_a_damaged_file_is_an_error_with_its_remedy(tmp_path):
    path = checkpoint.path_of(str(tmp_path), 0)
    checkpoint.write(path, Progress(rows=(ROW,), state=[], outputs=np.ones((2, 3))))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(JobError, match=r"is damaged .*; remove its folder"):
        checkpoint.read(path)
