"""Account for every image in a few random cases; tests/torture has many."""

from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from tests import accounting


def test_every_image_is_accounted_for(tmp_path):
    ends = Counter()

    @settings(
        max_examples=16,
        deadline=None,
        phases=[Phase.generate],  # a case costs too much to shrink it
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(accounting.cases())
    def attack(case):
        ends[accounting.attack(case, tmp_path / "case")] += 1

    attack()
    assert ends["built"] >= 2, ends
