from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import UsageError
from transforms.sampling.allocation import allocate
from transforms.sampling.plan import SamplePlan, Stratum

LABEL_OF = {"n00000001": 0, "n00000002": 0, "n00000003": 1}
COUNTS = st.dictionaries(
    st.builds(Stratum, st.sampled_from([0, 1]), st.just(""), st.integers(0, 100)),
    st.integers(1, 40),
    min_size=4,
    max_size=60,
)


def _plan(images_per_group, **flags):
    settings = {
        "label_of": LABEL_OF,
        "top_ups": {},
        "images_per_group": images_per_group,
        "stratify_by_class": False,
        "num_folds": 1,
        "seed": 0,
    }
    return SamplePlan(**{**settings, **flags})


def _by_label(shares):
    totals = Counter()
    for stratum, count in shares.items():
        totals[stratum.label] += count
    return totals


@given(counts=COUNTS, share=st.floats(0, 1))
def test_cap_is_exact_flat_and_nested(counts, share):
    available = _by_label(counts)
    most = min(available[0], available[1])
    images_per_group = int(share * most)
    if images_per_group < 1:
        return
    taken = allocate(counts, plan=_plan(images_per_group))
    assert _by_label(taken) == {0: images_per_group, 1: images_per_group}
    for label in (0, 1):
        saturated = [
            taken[s] for s in counts if s.label == label and taken[s] < counts[s]
        ]
        others = [taken[s] for s in counts if s.label == label]
        assert not saturated or max(saturated) - min(saturated) <= 1
        assert not saturated or max(others) <= max(saturated) + 1
    if images_per_group < most:
        more = allocate(counts, plan=_plan(images_per_group + 1))
        assert all(more[s] >= taken[s] for s in counts)
    turned = allocate(dict(reversed(counts.items())), plan=_plan(images_per_group))
    assert turned == taken


def test_remainder_goes_to_different_bins_in_every_group():
    label_of = {f"n{number:08d}": number for number in range(40)}
    counts = {Stratum(n, "", part): 9 for n in range(40) for part in range(50)}
    taken = allocate(counts, plan=_plan(25, label_of=label_of))
    by_part = Counter()
    for stratum, count in taken.items():
        by_part[stratum.part] += count
    assert sum(by_part.values()) == 40 * 25
    assert max(by_part.values()) < 35  # the same 25 bins for all would give 40


def test_whole_set_shares_one_quota():
    counts = {Stratum(-1, "", part): 30 for part in range(5)}
    taken = allocate(counts, plan=_plan(50, scope="set"))
    assert sum(taken.values()) == 100
    assert set(taken.values()) == {20}


def test_whole_set_that_is_too_small_is_an_error():
    counts = {Stratum(-1, "", 0): 99}
    with pytest.raises(
        UsageError, match=r"all groups together \(99 images.*largest that works is 49"
    ):
        allocate(counts, plan=_plan(50, scope="set"))
