"""What a process does that writes shards, and how many such a build has."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transforms.images.settings import ImageSettings
from transforms.processes import pool
from transforms.records import Shard
from transforms.shards.maker import ShardMaker, ShardSettings

_MANY_SHARDS = 8  # of a process: one more or less is no matter


def count_processes(num_at_once: int, num_shards: int, num_images: int) -> int:
    """Return how many processes keep so many cores busy to the end; 1: this one.

    Shards are nearly equal, so that processes end together if all write equally many.
    Where each writes few, more processes than cores are no loss: they share these.
    """
    each = max(num_shards // num_at_once, 1)
    most = num_at_once if each >= _MANY_SHARDS else -(-num_shards // each)
    return max(min(most, num_images // pool.LEAST_IMAGES), 1)


def to_json(settings: ShardSettings) -> Mapping[str, Any]:
    """Write settings as `begin` reads them."""
    return dataclasses.asdict(settings)


def begin(told: Mapping[str, Any]) -> Callable[[Sequence[Any]], tuple[int, int]]:
    """Make what writes a shard; returns the numbers of images written and failed."""
    images = ImageSettings(**told["images"])
    maker = ShardMaker(ShardSettings(**{**told, "images": images}))

    def write(shard: Sequence[Any]) -> tuple[int, int]:
        part = maker.make(Shard(*shard))
        return part.num_images, len(part.failures)

    return write
