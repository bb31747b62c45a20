"""What a build's sampler says of every image, and what has become of difficulty."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms import sampling
from transforms.datasets import JSON
from transforms.records import UsageError
from transforms.selection import arrangement, flatness
from transforms.selection.arrangement import Arrangement, SamplingRequest
from transforms.tables import difficulty_table, index_table, plan
from transforms.tables.groups import GroupTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arranged:
    """A sampler's arrangement, as the plan needs it."""

    folder: str | None = None  # of its files; None: hashes alone decide
    scope: str = "group"
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexedImages:
    """The usable training images of the groups, as samplers see them."""

    index: str
    num_row_groups: int
    table: GroupTable

    @functools.cached_property
    def row_groups(self) -> Sequence[pa.Table]:
        """Key and label of each row group's images."""
        return [self._read(number) for number in range(self.num_row_groups)]

    def _read(self, row_group: int) -> pa.Table:
        label_of = self.table.label_of
        images = index_table.read_row_group(
            self.index, row_group, split="train", wnids=sorted(label_of)
        )
        labels = [label_of[wnid] for wnid in images["wnid"].to_pylist()]
        return pa.table({"key": images["key"], "label": pa.array(labels, pa.int32())})

    def read(self) -> pa.Table:
        """Return key and label of all."""
        return pa.concat_tables(self.row_groups)


def arrange(
    images: IndexedImages,
    *,
    sampler: str,
    options: Any,  # noqa: ANN401  # each sampler has its own class
    difficulty_file: str | None,
    seed: int,
    folder: str,
) -> Arranged:
    """Ask the sampler, and write what it says into a folder.

    Raises: UsageError: what the sampler does not allow, or misses.
    """
    request = SamplingRequest(
        read_images=images.read, seed=seed, difficulty_file=difficulty_file
    )
    found: Arrangement | None = sampling.load(sampler).arrange(request, options)
    if found is None:
        return Arranged()
    sizes = [table.num_rows for table in images.row_groups]
    arrangement.write_parts(found, sizes, folder)
    return Arranged(folder=folder, scope=found.scope, notes=found.notes)


def measure_difficulty(
    images: IndexedImages, *, difficulty_file: str | None, plan_folder: str
) -> Mapping[str, JSON] | None:
    """Count all images and the chosen by difficulty; None where it is not known."""
    if difficulty_file is None:
        return None
    table = difficulty_table.read_table(difficulty_file)
    keys = {
        "available": images.read()["key"].combine_chunks(),
        "chosen": plan.read_train_keys(plan_folder),
    }
    return {name: flatness.measure(table, k).to_json() for name, k in keys.items()}


def check_every_group(
    chosen: Mapping[str, Mapping[str, int]], table: GroupTable, arranged: Arranged
) -> None:
    """See that no group is left without images where the set is one scope.

    Raises: UsageError: the groups that are.
    """
    if arranged.scope != "set":
        return
    trained = {w for split, c in chosen.items() if split != "validation" for w in c}
    filled = {table.label_of[wnid] for wnid in trained}
    empty = [table.names[n] for n in range(table.num_groups) if n not in filled]
    if empty:
        raise UsageError(
            f"--difficulty_scope set: leaves {len(empty)} groups without training "
            f"images ({', '.join(empty[:5])}); give group, or more --images_per_group"
        )
