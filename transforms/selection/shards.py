"""A split's images and their orders → how many shards, and where each begins."""

from collections.abc import Iterable

# Training code often gives a validation shard to each of 8 readers.
_VALIDATION_MULTIPLE, _VALIDATION_LEAST = 8, 50


def count_shards(split: str, num_images: int, images_per_shard: int) -> int:
    """Return how many shards a split has."""
    shards = max(-(-num_images // images_per_shard), 1)
    rounded = -(-shards // _VALIDATION_MULTIPLE) * _VALIDATION_MULTIPLE
    if split == "validation" and num_images // rounded >= _VALIDATION_LEAST:
        return rounded
    return shards


def find_cuts(orders: Iterable[int], num_shards: int) -> list[int]:
    """Return the first order of every shard but the first, sizes equal within one.

    Orders are equal once in 2⁶³/n² sets; a pair across a cut would move one image.
    """
    ranked = sorted(orders)
    size, longer = divmod(len(ranked), num_shards)
    starts = (number * size + min(number, longer) for number in range(1, num_shards))
    return [ranked[start] for start in starts]
