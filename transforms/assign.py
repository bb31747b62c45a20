"""Chosen images → one table of images a shard, in a global pseudo-random order."""

import dataclasses
import itertools
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection

from transforms.records import Shard
from transforms.selection import shards
from transforms.tables import chosen, plan


def deal(
    images: pa.Table, *, seed: int, images_per_shard: int
) -> Iterator[tuple[Shard, pa.Table]]:
    """Order every split's images, and cut it into shards."""
    for split in sorted(pc.unique(images["subset_split"]).to_pylist()):
        own = images.filter(pc.equal(images["subset_split"], split)).combine_chunks()
        ordered = chosen.sort_indices(own, "shuffle", seed=seed)
        starts = shards.find_starts(split, own.num_rows, images_per_shard)
        bounds = itertools.pairwise([*starts, own.num_rows])
        for number, (start, end) in enumerate(bounds):
            shard = Shard(split, number, len(starts))
            rows = ordered.slice(start, end - start)
            yield shard, plan.make_part(own.take(rows))


@dataclasses.dataclass
class AssignShards(beam.PTransform):
    """Deal images over shards of equal size (±1).

    One table of chosen images in, one (shard, table) each out.
    """

    seed: int
    images_per_shard: int

    def expand(
        self, images: PCollection[pa.Table]
    ) -> PCollection[tuple[Shard, pa.Table]]:
        """Deal what lies in one place anyway."""
        return images | "DealImages" >> beam.FlatMap(
            deal, seed=self.seed, images_per_shard=self.images_per_shard
        )
