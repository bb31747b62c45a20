"""Account for every image in random inputs, recipes and failures."""

from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from tests import accounting


def test_every_image_is_accounted_for(tmp_path, request, tell):
    ends = Counter()

    @settings(
        max_examples=request.config.getoption("cases"),
        deadline=None,
        phases=[Phase.generate],  # a case costs too much to shrink it
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(accounting.cases())
    def attack(case):
        ends[accounting.attack(case, tmp_path / "case")] += 1

    attack()
    tell(f"{ends.total()} cases: {dict(ends)}")
