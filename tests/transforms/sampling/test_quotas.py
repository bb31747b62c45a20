import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.sampling.allocation import water_fill

COUNTS = st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 50), max_size=8)


@pytest.mark.parametrize(
    ("counts", "target", "shares"),
    [
        ({"a": 5, "b": 5}, 6, {"a": 3, "b": 3}),
        ({"a": 1, "b": 9}, 6, {"a": 1, "b": 5}),
        ({"a": 1, "b": 2}, 9, {"a": 1, "b": 2}),
        ({"a": 0, "b": 4}, 2, {"a": 0, "b": 2}),
        ({"a": 4}, 0, {"a": 0}),
        ({}, 3, {}),
    ],
    ids=["equal", "one is short", "too few", "an empty place", "nothing", "no place"],
)
def test_shares_are_as_equal_as_counts_allow(counts, target, shares):
    assert water_fill(counts, target, seed=0) == shares


@given(counts=COUNTS, target=st.integers(0, 300), seed=st.integers(0, 3))
def test_invariants(counts, target, seed):
    shares = water_fill(counts, target, seed=seed)
    assert sum(shares.values()) == min(target, sum(counts.values()))
    assert all(0 <= shares[place] <= counts[place] for place in counts)
    unsaturated = [shares[p] for p in counts if shares[p] < counts[p]]
    assert not unsaturated or max(shares.values()) - min(unsaturated) <= 1


@given(counts=COUNTS, target=st.integers(0, 300))
def test_larger_target_never_reduces_a_share(counts, target):
    shares = water_fill(counts, target, seed=0)
    more = water_fill(counts, target + 1, seed=0)
    assert all(more[place] >= shares[place] for place in counts)


@given(counts=COUNTS, target=st.integers(0, 300))
def test_order_of_the_input_does_not_matter(counts, target):
    turned = dict(reversed(counts.items()))
    assert water_fill(turned, target, seed=0) == water_fill(counts, target, seed=0)
