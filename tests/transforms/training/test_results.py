import numpy as np
import pytest

from transforms.records import JobError
from transforms.training import results as training_results
from transforms.training.checkpoint import Progress
from transforms.training.curves import CurveRow, to_csv

OUTPUTS = np.array([[0.6, 0.4], [0.2, 0.8]], np.float32)


def _make_progress(
    rate: float, accuracy: float, outputs: np.ndarray = OUTPUTS
) -> Progress:
    row = CurveRow("small", "id", "linear", 0, rate, 1, 1, 10, 2, accuracy, 0.25)
    return Progress(rows=(row,), state=[], outputs=outputs)


def test_the_first_of_equally_good_rates_is_chosen():
    runs = [
        _make_progress(0.3, 0.4),
        _make_progress(0.1, 0.5),
        _make_progress(0.2, 0.5),
    ]
    assert training_results.choose_best(runs) is runs[1]


def test_a_model_that_diverged_everywhere_is_an_error():
    with pytest.raises(JobError, match="linear diverged at every learning rate"):
        training_results.choose_best([_make_progress(9, 0.0, np.full((2, 2), np.nan))])


@pytest.mark.parametrize(
    ("outputs", "accuracy"),
    [
        ([[0.6, 0.4], [0.2, 0.8]], 1.0),
        ([[0.4, 0.6], [0.2, 0.8]], 0.5),
        ([[0.5, 0.5], [0.5, 0.5]], 0.5),
        ([[np.nan, np.nan], [0.2, 0.8]], 0.5),
    ],
    ids=["right", "half", "equal", "no number"],
)
def test_accuracy_counts_the_likeliest(outputs, accuracy):
    computed = training_results.find_accuracy(
        np.array(outputs, np.float32), np.array([0, 1])
    )
    assert computed == accuracy


def test_curves_keep_every_digit():
    row = _make_progress(0.1, 1 / 3).rows[0]
    header, line = to_csv([row]).decode().splitlines()
    assert header.split(",") == list(CurveRow._fields)
    assert line == f"small,id,linear,0,0.1,1,1,10,2,{1 / 3!r},0.25"
