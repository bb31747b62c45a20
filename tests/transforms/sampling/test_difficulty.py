import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import UsageError
from transforms.sampling.methods import difficulty
from transforms.sampling.methods.difficulty import Options
from transforms.sampling.plan import NEVER, MissingScoresError, SamplingRequest

SCORES = st.lists(
    st.floats(0, 1, width=32, allow_subnormal=False), min_size=1, max_size=60
)


def _request(tmp_path, scores, *, labels=None, keys=None, seed=0):
    """Return a request for images i0, i1, …; a score of None is not in the table."""
    keys = keys or [f"i{number}" for number in range(len(scores))]
    rows = [(k, s) for k, s in zip(keys, scores, strict=True) if s is not None]
    table = pa.table({
        "key": pa.array([k for k, _ in rows], pa.string()),
        "p_correct": pa.array([s for _, s in rows], pa.float32()),
    })
    path = tmp_path / "difficulty.parquet"
    pq.write_table(table, path)
    images = pa.table({
        "key": pa.array(keys, pa.string()),
        "label": pa.array(labels or [0] * len(keys), pa.int32()),
    })
    return SamplingRequest(
        read_images=lambda: images, seed=seed, difficulty_file=str(path)
    )


def test_percent_bins_are_half_up(tmp_path):
    scores = [0, 0.0049, 0.125, 0.375, 0.994, 0.996, 1, 1 + 1e-7]
    found = difficulty.arrange(_request(tmp_path, scores), Options())
    assert found.parts.tolist() == [0, 0, 13, 38, 99, 100, 100, 100]
    assert found.orders is None
    assert found.scope == "group"


def test_difficulty_that_is_the_same_everywhere_is_a_note(tmp_path):
    found = difficulty.arrange(_request(tmp_path, [0.001] * 100), Options())
    assert found.notes[0].startswith("warning: 100.0% of the images have the same")
    varied = difficulty.arrange(_request(tmp_path, [0.001, 0.2] * 50), Options())
    assert varied.notes == ()


def test_quantile_bins_are_of_equal_size_in_each_scope(tmp_path):
    scores = [0.001 * n**2 / 250 for n in range(250)] * 2
    labels = [0] * 250 + [1] * 250
    found = difficulty.arrange(
        _request(tmp_path, scores, labels=labels), Options(bins="quantile")
    )
    for in_group in (found.parts[:250], found.parts[250:]):
        counts = np.bincount(in_group, minlength=101)
        assert set(counts.tolist()) == {2, 3}
        assert (np.diff(in_group) >= 0).all()


def test_equal_scores_share_a_quantile_bin(tmp_path):
    found = difficulty.arrange(
        _request(tmp_path, [0.5] * 30 + [0.7] * 10), Options(bins="quantile")
    )
    assert found.parts.tolist() == [0] * 30 + [101 * 30 // 40] * 10


@given(scores=SCORES, hardest=st.booleans())
def test_orders_sort_as_the_scores_do(scores, hardest):
    p_correct = np.array(scores, np.float32)
    hashes = np.arange(len(scores), dtype=np.int64)[::-1] << 40
    orders = difficulty.order_by_difficulty(
        p_correct, hashes, is_easiest_first=not hardest
    )
    sign = 1 if hardest else -1
    expected = sorted(
        range(len(scores)), key=lambda n: (sign * p_correct[n], hashes[n])
    )
    assert np.argsort(orders).tolist() == expected
    assert orders.min() >= 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.29, 0.9, 0.999])
def test_share_of_the_hardest_is_left_out_of_each_scope(tmp_path, share):
    scores = [n / 100 for n in range(100)] * 2
    labels = [0, 1] * 100
    found = difficulty.arrange(
        _request(tmp_path, scores, labels=labels), Options(drop_hardest=share)
    )
    dropped = found.parts == NEVER
    for label in (0, 1):
        in_group = np.array(labels) == label
        assert dropped[in_group].sum() == round(share * 1000) * 100 // 1000
        if dropped[in_group].any() and not dropped[in_group].all():
            p_correct = np.array(scores)[in_group]
            assert (
                p_correct[dropped[in_group]].max()
                <= p_correct[~dropped[in_group]].min()
            )


def test_order_of_the_images_changes_nothing(tmp_path):
    scores = [0.1, 0.1, 0.1, 0.7, None, 0.9, None, 0.2]
    labels = [0, 1, 0, 1, 0, 1, 1, 0]
    keys = [f"k{n}" for n in range(8)]
    options = Options(drop_hardest=0.3, missing="random", rule="hardest")
    turned = [5, 2, 7, 0, 4, 6, 1, 3]
    plain = difficulty.arrange(
        _request(tmp_path, scores, labels=labels, keys=keys), options
    )
    other = difficulty.arrange(
        _request(
            tmp_path,
            *[[scores[n] for n in turned]],
            labels=[labels[n] for n in turned],
            keys=[keys[n] for n in turned],
        ),
        options,
    )
    assert plain.parts[turned].tolist() == other.parts.tolist()
    assert plain.orders[turned].tolist() == other.orders.tolist()


def test_missing_scores_are_an_error_that_names_them(tmp_path):
    request = _request(tmp_path, [0.5, None, 0.6, None])
    with pytest.raises(MissingScoresError, match=r"2 of 4 .* \(i1, i3\); .*random"):
        difficulty.arrange(request, Options())


def test_missing_scores_are_drawn_from_their_scope(tmp_path):
    scores = [0.1, 0.2, 0.3] * 40 + [None] * 60 + [0.8, 0.9] * 50
    labels = [0] * 180 + [1] * 100
    request = _request(tmp_path, scores, labels=labels)
    found = difficulty.arrange(request, Options(missing="random"))
    drawn = np.bincount(found.parts[120:180], minlength=101)
    assert set(np.flatnonzero(drawn)) == {10, 20, 30}
    assert drawn.max() < 40
    assert "60 of 280" in found.notes[0]


def test_table_without_any_of_the_images_is_an_error(tmp_path):
    request = _request(tmp_path, [None, None])
    with pytest.raises(MissingScoresError, match="2 of 2"):
        difficulty.arrange(request, Options(missing="random"))


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01], ids=str)
def test_bad_scores_are_errors(tmp_path, value):
    request = _request(tmp_path, [0.5, value])
    with pytest.raises(UsageError, match=r"--difficulty .*i1"):
        difficulty.arrange(request, Options())


def test_no_table_is_an_error():
    request = SamplingRequest(read_images=lambda: None, seed=0)
    with pytest.raises(MissingScoresError, match="--difficulty"):
        difficulty.arrange(request, Options())
