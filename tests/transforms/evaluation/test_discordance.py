import itertools

import numpy as np
import pytest
from scipy import stats

from transforms.evaluation.discordance import bound_tau, find_discordance, find_families


def test_discordance_counts_pairs_of_opposite_order_and_half_of_ties():
    first = np.array([1.0, 2, 3, 3])
    second = np.array([2.0, 1, 3, 4])
    expected = np.zeros((4, 4))
    for a, b in itertools.combinations(range(4), 2):
        signs = np.sign(first[a] - first[b]), np.sign(second[a] - second[b])
        expected[a, b] = expected[b, a] = abs(signs[0] - signs[1]) / 2
    assert find_discordance(first, second).tolist() == expected.tolist()
    assert expected[0, 1] == 1
    assert expected[2, 3] == 0.5


def test_independent_pairs_get_the_interval_of_clopper_and_pearson():
    discordance = np.zeros((
        64,
        64,
    ))  # no pair is discordant, so nothing is overdispersed
    low, high = bound_tau(discordance, [str(n) for n in range(64)])
    exact = stats.binomtest(0, 64 * 63 // 2).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((1 - 2 * exact.high, 1))
    assert bound_tau(np.zeros((1, 1)), ["a"]) is None


@pytest.mark.parametrize("size", [1, 3], ids=["single", "families"])
@pytest.mark.parametrize(
    ("num_models", "tau"), [(6, 0.85), (12, 0.95), (24, 0.85), (36, 0.87)]
)
def test_interval_covers_the_tau_of_the_population(num_models, tau, size):
    """The percentile bootstrap covers 39 % of the time with six models."""
    random = np.random.default_rng(0)
    noise = np.sqrt(1 / np.sin(np.pi / 2 * tau) ** 2 - 1)  # of a normal ability
    members = np.arange(num_models) // size
    names = [str(n) for n in members]

    def draw():
        shared = random.normal(size=num_models)[members]
        return (shared + random.normal(size=num_models)) / 2**0.5

    covered = 0
    for _ in range(400):
        ability = draw()
        measured = ability + noise * draw()
        low, high = bound_tau(find_discordance(ability, measured), names)
        covered += low <= tau <= high
    assert covered >= 0.97 * 400


def test_one_deviating_family_widens_the_interval():
    first = np.arange(24.0)
    second = first.copy()
    second[:6] += 9.5  # one family is ranked too high
    discordance = find_discordance(first, second)
    single = bound_tau(discordance, [str(n) for n in range(24)])
    family = bound_tau(discordance, [str(n // 6) for n in range(24)])
    assert family.low < single.low
    assert family.high > single.high


@pytest.mark.parametrize(
    ("names", "families"),
    [
        (("resnet_v1_50_tf", "resnet18", "fbresnet152"), ("resnet",) * 3),
        (
            ("bninception", "inceptionresnetv2", "inception_v3_tf", "xception"),
            ("inception", "inception", "inception", "xception"),
        ),
        (("tf_efficientnet_b0", "efficientnet_b1"), ("efficientnet",) * 2),
        (("nasnetalarge", "nasnet_mobile_tf", "pnasnet5large"), ("nasnet",) * 3),
        (("mobilenetv3", "mobilenet_v1_tf"), ("mobilenet",) * 2),
        (("a", "ab", "42", "v"), ("a", "ab", "42", "v")),
        (
            ("cnn:8x2@0.001", "cnn:8x2@0.003", "cnn:16x2", "cnn", "linear@0.1"),
            ("cnn:8x2", "cnn:8x2", "cnn:16x2", "cnn", "linear"),
        ),
    ],
)
def test_families_are_the_letters_that_names_start_with(names, families):
    assert find_families(names) == families
    assert find_families(names[::-1]) == families[::-1]


@pytest.mark.real
def test_published_models_have_thirteen_families(real_data):
    models = [path.stem for path in (real_data / "predictions").glob("*.npz")]
    assert len(models) == 64
    assert len(set(find_families(models))) == 13
