import pytest

from transforms import seeds


def test_golden_order():
    assert seeds.order(0, "sample", "n01440764_10026") == 5_295_519_650_024_399_647
    assert seeds.order(1, "sample", "n01440764_10026") == 5_285_197_782_748_331_130


@pytest.mark.parametrize(
    "other",
    [(1, "sample", "a"), (0, "fold", "a"), (0, "sample", "b")],
    ids=["seed", "purpose", "key"],
)
def test_order_depends_on_seed_purpose_and_key(other):
    assert seeds.order(0, "sample", "a") != seeds.order(*other)


def test_orders_of_different_purposes_are_independent():
    keys = [f"n01440764_{number}" for number in range(2000)]
    first = sorted(keys, key=lambda key: seeds.order(0, "sample", key))[:1000]
    in_fold_a = sorted(keys, key=lambda key: seeds.order(0, "fold", key))[:1000]
    assert 400 < len(set(first) & set(in_fold_a)) < 600


def test_orders_agrees_with_order():
    keys = ["a", "b", "ü"]
    expected = [seeds.order(7, "fold", key) for key in keys]
    assert seeds.orders(7, "fold", keys).tolist() == expected
