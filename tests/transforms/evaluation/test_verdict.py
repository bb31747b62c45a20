import math
import re

import pytest

from transforms.evaluation.ceilings import Ceiling
from transforms.evaluation.convergence import Convergence
from transforms.evaluation.discordance import Interval
from transforms.evaluation.ranking import PairAgreement
from transforms.evaluation.verdict import Evidence, judge, widen

MODELS = ("a", "b", "c", "d", "e")


def clear(epoch, train_images):
    images = None if epoch is None else epoch * train_images
    return Convergence(epoch, images, ())


def judge_by(
    *,
    decided=6,
    contrary=(),
    reversed_=(),
    epochs=(40, 10),
    images=(1000, 100),
    least=1.0,
    resolved=0.5,
    interval=(20, 60),
    has_seeds=True,
):
    pairs = PairAgreement(
        num_pairs=6,
        significant_full=decided,
        significant_subset=5,
        sign_agreement=(6 - len(contrary)) / 6,
        resolving_power=resolved,
        noise_ceiling=None,
        contrary=contrary,
        reversed=reversed_,
    )
    full, subset = map(clear, epochs, images)
    return judge(
        Evidence(
            models=MODELS,
            pairs=pairs,
            ceiling=Ceiling(0.9, 0.98, least),
            full=full,
            subset=subset,
            gain_interval=Interval(*interval),
            has_seeds=has_seeds,
        )
    )


ONE = ((0, 1),)


def test_subset_with_kept_ranks_and_fewer_images_is_useful():
    verdict = judge_by()
    assert verdict.value == str(verdict) == "useful"
    assert verdict.gain == 40
    assert verdict.gain_interval == (20, 60)
    assert verdict.reason == (
        "it keeps the order of 6 of the 6 pairs that are significant on the full set, "
        "where noise alone would leave 98.0% (3 of them are significant on the "
        "subset), and its ranking of these pairs converges after 1,000 images (epoch "
        "10), that of the full set after 40,000 (epoch 40): a gain of 40 (95 %: 20 to "
        "60)"
    )


def test_a_pair_that_noise_may_turn_does_not_cost_the_verdict():
    assert judge_by(contrary=ONE, least=5 / 6).value == "useful"


FAULTS = [
    (
        {"contrary": ONE, "reversed_": ONE, "least": 0.5},
        "^on 1 of the .* contradicts the full set significantly: a over b",
    ),
    ({"contrary": ONE}, "5 of the 6 pairs.*fewer than noise explains .*100.0%.*a over"),
    ({"images": (1000, 4000), "interval": (0.8, 1)}, "after 40,000 .* is no fewer"),
    ({"epochs": (40, None), "interval": (0, 0)}, "does not converge, which is no"),
]


@pytest.mark.parametrize(("evidence", "words"), FAULTS)
def test_faults_make_a_subset_not_useful_with_several_seeds_only(evidence, words):
    verdict = judge_by(**evidence)
    assert str(verdict) == "not useful"
    assert re.search(words, verdict.reason)
    alone = judge_by(**evidence, has_seeds=False)
    assert alone.value == "inconclusive"
    assert re.search(words, alone.reason)
    assert "with one seed per model" in alone.reason


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"decided": 0}, "^no pair of models differs significantly"),
        ({"resolved": 1 / 3}, "^only 2 of the 6 pairs .* more validation images"),
        ({"epochs": (1, 1)}, "converges in the first epoch"),
        ({"interval": (0.9, 9)}, "95 %: 0.9 to 9.*may be by chance"),
    ],
    ids=["none significant", "few resolved", "too easy", "no gain"],
)
def test_insufficient_evidence_is_inconclusive(evidence, words):
    verdict = judge_by(**evidence)
    assert verdict.value == "inconclusive"
    assert str(verdict) == "inconclusive with this validation size and these models"
    assert re.search(words, verdict.reason)


@pytest.mark.parametrize("evidence", [{}, {"epochs": (1, 1)}, {"least": 0.9}])
def test_more_resolved_pairs_are_never_worse(evidence):
    values = [judge_by(resolved=n / 6, **evidence).value for n in range(7)]
    assert values == sorted(values)  # "inconclusive" < "useful"


def test_set_that_never_converges_has_no_gain():
    assert judge_by(epochs=(40, None)).gain is None
    assert judge_by(epochs=(None, 4), decided=0).gain is None


def test_three_pairs_are_named_and_the_others_counted():
    pairs = tuple((0, b) for b in (1, 2, 3, 4))
    reason = judge_by(contrary=pairs, reversed_=pairs).reason
    assert reason.endswith("a over b, a over c, a over d and 1 more on the full set")


def test_interval_of_the_gain_contains_the_gain():
    assert widen(Interval(0, 3), 6.0) == Interval(0, 6)
    assert widen(Interval(2, 3), 1.5) == Interval(1.5, 3)
    assert widen(Interval(2, math.inf), 2.5) == Interval(2, math.inf)
    assert widen(None, 2.5) is None
    assert widen(Interval(0, 1), None) == Interval(0, 1)
