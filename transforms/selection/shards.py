"""A split's images → how many shards, and where each begins."""

# Training code often gives a validation shard to each of 8 readers.
_VALIDATION_MULTIPLE, _VALIDATION_LEAST = 8, 50


def count_shards(split: str, num_images: int, images_per_shard: int) -> int:
    """Return how many shards a split has."""
    shards = max(-(-num_images // images_per_shard), 1)
    rounded = -(-shards // _VALIDATION_MULTIPLE) * _VALIDATION_MULTIPLE
    if split == "validation" and num_images // rounded >= _VALIDATION_LEAST:
        return rounded
    return shards


def find_starts(split: str, num_images: int, images_per_shard: int) -> list[int]:
    """Return the position of every shard's first image, sizes equal within one."""
    num_shards = count_shards(split, num_images, images_per_shard)
    size, longer = divmod(num_images, num_shards)
    return [number * size + min(number, longer) for number in range(num_shards)]
