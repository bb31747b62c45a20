import re

import pytest

from transforms.evaluation.convergence import Convergence
from transforms.evaluation.ranking import PairAgreement
from transforms.evaluation.verdict import Evidence, judge

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
    easy=False,
):
    pairs = PairAgreement(
        num_pairs=6,
        decided_full=decided,
        decided_subset=5,
        sign_agreement=None,
        resolving_power=0.5,
        noise_ceiling=None,
        contrary=contrary,
        reversed=reversed_,
    )
    full, subset = map(clear, epochs, images)
    return judge(
        Evidence(models=MODELS, pairs=pairs, full=full, subset=subset, is_too_easy=easy)
    )


ONE = ((0, 1),)


def test_kept_ranks_and_fewer_images_have_value():
    verdict = judge_by()
    assert verdict.value == str(verdict) == "has value"
    assert verdict.gain == 40
    assert verdict.reason == (
        "it keeps the order of all 6 pairs that are significant on the full set (3 of "
        "them are significant on the subset), and its ranking converges after 1,000 "
        "images (epoch 10), that of the full set after 40,000 (epoch 40): 40 times "
        "fewer"
    )


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"contrary": ONE, "reversed_": ONE},
            "^on 1 of the .* contradicts the full set significantly: a over b",
        ),
        ({"images": (1000, 4000)}, "after 40,000 images .*, which is no fewer"),
        ({"images": (1000, 8000), "contrary": ONE}, "which is no fewer"),
        ({"images": (1000, 8000), "easy": True}, "which is no fewer"),
        (
            {"contrary": ONE, "reversed_": ONE, "epochs": (40, None)},
            "contradicts the full set",
        ),
    ],
    ids=["reversed", "no gain", "no gain and doubt", "no gain, easy", "never clear"],
)
def test_significant_reversal_has_none(evidence, words):
    verdict = judge_by(**evidence)
    assert str(verdict) == "has none"
    assert re.search(words, verdict.reason)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"decided": 0, "epochs": (None, 10)},
            "not strict enough: none of its 6 pairs",
        ),
        (
            {"contrary": ONE},
            "^on 1 of .* another order, but not significantly: a over b on",
        ),
        ({"epochs": (40, None)}, "none of its 6 pairs is significant, so"),
        ({"easy": True}, "not strict enough: all pairs are significant on both"),
    ],
    ids=["none decided", "contrary by chance", "subset decides none", "too easy"],
)
def test_insignificant_difference_cannot_be_told(evidence, words):
    verdict = judge_by(**evidence)
    assert verdict.value == "cannot be told"
    assert str(verdict) == ("cannot be told with this validation size and these models")
    assert re.search(words, verdict.reason)


def test_set_that_never_converges_has_no_gain():
    assert judge_by(epochs=(40, None)).gain is None
    assert judge_by(epochs=(None, 4), decided=0).gain is None


def test_three_pairs_are_named_and_the_others_counted():
    pairs = tuple((0, b) for b in (1, 2, 3, 4))
    reason = judge_by(contrary=pairs, reversed_=pairs).reason
    assert reason.endswith("a over b, a over c, a over d and 1 more on the full set")
