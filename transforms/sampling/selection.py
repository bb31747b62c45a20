"""Select the images of the subset: hold out validation images, then sample.

The index is read three times. The first two passes keep only numbers, and the third
only selected images, so no other row is kept in memory or shuffled. T is the number of
training images that a group holds out for validation.

A sampler with a fixed selection needs only the third pass.

    row groups ─┬─ top T of each group by hash(validation) ── held out ─────┐
                │                          ┌───────────────────────────────┤
                ├─ count and rank the others by stratum ── quotas ─ sampled ┤
                └─ read held-out, sampled and official validation images ───┴─ selected
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import seeds
from transforms.index import table as index_table
from transforms.records import check_all_arrived
from transforms.sampling import allocation, selected, top_k
from transforms.sampling.plan import NEVER, SamplePlan, join_part
from transforms.sampling.top_k import Positions, TopK


def rank_for_validation(row_group: int, *, index: str, plan: SamplePlan) -> TopK:
    """Rank a row group's training images of each group as candidates for validation.

    Returns:
      The first images of each group by hash; none if no group holds out images.
    """
    if not any(plan.top_ups.values()):
        return top_k.rank_none(row_group)
    table = plan.read(index, row_group, split="train")
    labels = plan.labels(table)
    topped_up = [label for label, count in plan.top_ups.items() if count]
    rows = np.flatnonzero(np.isin(labels, topped_up))
    keys = table["key"].take(pa.array(rows)).to_pylist()
    return top_k.rank(
        labels[rows],
        seeds.orders(plan.seed, "validation", keys),
        row_group=row_group,
        rows=rows,
        limit_of=plan.top_up,
    )


def rank_for_sample(
    row_group: int, aside: Positions, *, index: str, plan: SamplePlan
) -> TopK:
    """Rank the training images of a row group for sampling, within each stratum.

    Args:
      row_group: number of the row group of the index.
      aside: positions of the images that are held out for validation.
      index: path of the index.
      plan: the sampling plan.

    Returns:
      The first images of each stratum by order; none if the plan selects all images.
    """
    if plan.images_per_group is None:  # all are selected
        return top_k.rank_none(row_group)
    table = plan.read(index, row_group, split="train")
    rows = find_free(row_group, aside, parts=plan.parts(table))
    free = table.take(pa.array(rows, pa.int64()))
    return top_k.rank(
        plan.strata(free),
        plan.orders(free),
        row_group=row_group,
        rows=rows,
        limit_of=plan.max_of,
    )


def find_free(
    row_group: int, aside: Positions, *, parts: npt.NDArray[np.integer]
) -> npt.NDArray[np.integer]:
    """Find the training rows that are neither held out nor excluded by the sampler.

    Args:
      row_group: number of the row group of the index.
      aside: positions of the images that are held out for validation.
      parts: the sampler's part of each training image, shape (images,).

    Returns:
      Row numbers among the row group's training images, ascending.
    """
    is_free = parts != NEVER
    is_free[aside.get(row_group, [])] = False
    return np.flatnonzero(is_free)


def read_selected(
    row_group: int,
    aside: Positions,
    taken: Positions,
    *,
    index: str,
    plan: SamplePlan,
) -> pa.Table:
    """Read a row group's selected images, including all official validation images.

    Args:
      row_group: number of the row group of the index.
      aside: positions of the images that are held out for validation.
      taken: positions of the sampled images; ignored if the plan selects all images.
      index: path of the index.
      plan: the sampling plan.

    Returns:
      A table with the schema `selected.SELECTED_SCHEMA`.
    """
    if plan.is_fixed:
        return _read_fixed(row_group, index=index, plan=plan)
    official = plan.read(index, row_group, split="validation")
    train = plan.read(index, row_group, split="train")
    rows = taken.get(row_group, np.empty(0, np.int64))
    if plan.images_per_group is None:
        rows = find_free(row_group, aside, parts=plan.parts(train))
    set_aside = aside.get(row_group, np.empty(0, np.int64))
    return pa.concat_tables(
        selected.make_selected(table, split=split, labels=plan.labels(table))
        for split, table in (
            ("validation", official),
            ("validation", train.take(pa.array(set_aside, pa.int64()))),
            ("train", train.take(pa.array(rows, pa.int64()))),
        )
    )


def _read_fixed(row_group: int, *, index: str, plan: SamplePlan) -> pa.Table:
    """Read the images of a row group that a fixed selection contains."""
    images = index_table.read_row_group(index, row_group)
    images = join_part(images, plan.arrangement or "", row_group)
    is_selected = pc.and_(
        pc.not_equal(images["subset_split"], ""),
        pc.is_in(images["wnid"], value_set=pa.array(plan.wnids, pa.string())),
    )
    images = images.filter(is_selected)
    table = selected.make_selected(images, split="train", labels=plan.labels(images))
    return selected.set_split(table, images["subset_split"])


def select_images(index: str, num_row_groups: int, plan: SamplePlan) -> pa.Table:
    """Select the images of the subset in this process, one row group at a time.

    Args:
      index: path of the index.
      num_row_groups: number of row groups of the index.
      plan: the sampling plan.

    Returns:
      A table with the schema `selected.SELECTED_SCHEMA`.

    Raises:
      UsageError: lists all scopes with too few images.
    """
    row_groups = range(num_row_groups)
    ranked = (
        rank_for_validation(number, index=index, plan=plan) for number in row_groups
    )
    aside = top_k.find_positions(top_k.merge_all(ranked, plan.top_up))
    ranked = (
        rank_for_sample(number, aside, index=index, plan=plan) for number in row_groups
    )
    taken = allocation.choose(top_k.merge_all(ranked, plan.max_of), plan=plan)
    images = pa.concat_tables(
        read_selected(number, aside, taken, index=index, plan=plan)
        for number in row_groups
    )
    return selected.assign_folds(images, num_folds=plan.num_folds, seed=plan.seed)


def check_ranked(ranked: TopK, num_row_groups: int) -> TopK:
    """Check that an engine has ranked each row group once; return the ranked images.

    Raises:
      JobError: the engine lost or repeated row groups.
    """
    _check_row_groups(ranked.row_groups, num_row_groups)
    return ranked


def join_selected(
    tables: Sequence[tuple[int, pa.Table]], *, num_row_groups: int, plan: SamplePlan
) -> pa.Table:
    """Join the selected images that an engine has read, and split them into folds.

    Args:
      tables: number of each row group, and the result of `read_selected`.
      num_row_groups: number of row groups of the index.
      plan: the sampling plan.

    Raises:
      JobError: the engine lost or repeated row groups.
    """
    _check_row_groups((number for number, _ in tables), num_row_groups)
    images = pa.concat_tables(table for _, table in tables)
    return selected.assign_folds(images, num_folds=plan.num_folds, seed=plan.seed)


def _check_row_groups(arrived: Iterable[int], num_row_groups: int) -> None:
    check_all_arrived(
        arrived,
        range(num_row_groups),
        what="row groups of the index",
        remedy="nothing is planned; run again without flags of Beam",
    )
