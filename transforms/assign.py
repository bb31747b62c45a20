"""Chosen images → one list of images a shard, in a global pseudo-random order."""

import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from transforms import seeds
from transforms.records import Chosen, Shard
from transforms.selection import shards

ShardKey = tuple[str, int, int]  # a Shard, as a type whose coder Beam trusts as key


def cut_split(
    split: str, orders: Iterable[int], *, images_per_shard: int
) -> tuple[str, list[int]]:
    """Cut one split's order into shards."""
    listed = list(orders)
    num_shards = shards.count_shards(split, len(listed), images_per_shard)
    return split, shards.find_cuts(listed, num_shards)


def rank(image: Chosen, *, seed: int) -> tuple[str, int]:
    """Return (split, order) of an image."""
    return image.split, seeds.order(seed, "shuffle", image.ref.key)


def key_by_shard(
    image: Chosen, cuts: Mapping[str, Sequence[int]], *, seed: int
) -> tuple[ShardKey, Chosen]:
    """Find the shard that an image's order falls into."""
    split, order = rank(image, seed=seed)
    number = bisect_right(cuts[split], order)
    return (split, number, len(cuts[split]) + 1), image


def in_order(
    key: ShardKey, images: Iterable[Chosen], *, seed: int
) -> tuple[Shard, list[Chosen]]:
    """Sort one shard's images."""
    return Shard(*key), sorted(images, key=lambda c: (*rank(c, seed=seed), c.ref.key))


@dataclasses.dataclass
class AssignShards(beam.PTransform):
    """Deal images over shards of equal size (±1). Chosen in, one (shard, list) out."""

    seed: int
    images_per_shard: int

    def expand(
        self, images: PCollection[Chosen]
    ) -> PCollection[tuple[Shard, list[Chosen]]]:
        """Sort the orders alone for the cuts, then group by shard."""
        cuts = (
            images
            | "RankImages" >> beam.Map(rank, seed=self.seed)
            | "GroupOrders" >> beam.GroupByKey()
            | "CutSplits"
            >> beam.MapTuple(partial(cut_split, images_per_shard=self.images_per_shard))
        )
        return (
            images
            | "KeyByShard" >> beam.Map(key_by_shard, cuts=AsDict(cuts), seed=self.seed)
            | "GroupByShard" >> beam.GroupByKey()
            | "OrderImages" >> beam.MapTuple(partial(in_order, seed=self.seed))
        )
