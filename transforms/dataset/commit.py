"""Commit a dataset: write the manifest, sidecars and card, then the commit mark.

A local dataset is written to a temporary folder, which is renamed after the commit mark
is written, so that readers never find an incomplete dataset. In a bucket, the shards
have their final names from the start; a dataset without the mark is incomplete.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from transforms import formats, storage
from transforms.dataset import card as dataset_card
from transforms.dataset import contact_sheet, croissant, manifest, paths, statistics
from transforms.dataset.manifest import Part
from transforms.dataset.plan import PlannedShard
from transforms.formats import Dataset, LabelInfo, SplitInfo
from transforms.grouping import table as groups
from transforms.grouping.table import GroupTable
from transforms.prefetch import prefetch
from transforms.records import (
    DataError,
    Failure,
    JobError,
    Shard,
    WrittenFile,
    check_all_arrived,
    cut_lines,
    to_json,
)

_REMEDY = (
    "the dataset is not committed; run again with --resume, and without --runner if "
    "this repeats"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitSettings:
    """The metadata of a dataset that is known before images are written."""

    root: str  # folder in which the dataset is built
    work: str  # folder for parts of the manifest until it is written
    target: str  # final folder of the dataset
    name: str
    version: str
    formats: Sequence[str]
    table: GroupTable
    subset_id: str
    recipe: Mapping[str, Any]
    found: statistics.Counts  # usable images of the input
    bad: statistics.Counts  # unusable images of the input
    chosen: statistics.Counts  # selected images
    shards: Sequence[PlannedShard]  # of the plan
    max_failure_fraction: float
    difficulty: Mapping[str, Any] | None = None  # histograms; None without a table
    more_files: Sequence[str] = ()  # in `root`, written before the commit

    @property
    def num_chosen(self) -> int:
        """The number of images in the plan, over all splits and classes."""
        return sum(sum(counts.values()) for counts in self.chosen.values())


def commit(shards: Sequence[tuple[Shard, int]], settings: CommitSettings) -> str:
    """Commit the written shards; return the folder of the dataset.

    The function is idempotent, because a runner may repeat it at any point. A repeated
    call finishes an interrupted commit; it does nothing if the dataset is committed.

    Args:
      shards: the written shards, each with its number of failed images.
      settings: metadata and folders of the dataset.

    Raises:
      JobError: too many images failed, the files of a shard are missing, the folder
        cannot be moved to its target, or the engine lost shards.
    """
    check_all_arrived(
        (shard for shard, _ in shards),
        (planned.shard for planned in settings.shards),
        what="shards",
        remedy=_REMEDY,
    )
    ordered = [shard for shard, _ in sorted(shards)]
    if storage.is_remote(settings.target):
        _commit_in_bucket(ordered, settings)
    else:
        _commit_in_folder(ordered, settings)
    return settings.target


def _commit_in_folder(shards: Sequence[Shard], settings: CommitSettings) -> None:
    """Write the sidecars and the commit mark, and move the folder to its target.

    Before the move, files that do not belong to the dataset are removed.
    """
    root = settings.root
    if not storage.exists(root) and storage.exists(
        f"{settings.target}/{paths.COMPLETE}"
    ):
        return
    if not storage.exists(f"{root}/{paths.COMPLETE}"):
        complete = _write_sidecars(shards, settings)
        storage.flush()
        storage.write(root, paths.COMPLETE, to_json(complete))
    marked = json.loads(storage.read(f"{root}/{paths.COMPLETE}"))
    _remove_others(root, {*marked["files"], paths.COMPLETE})
    storage.rename_folder(root, settings.target)


def _commit_in_bucket(shards: Sequence[Shard], settings: CommitSettings) -> None:
    """Write the sidecars, remove unused files, and write the commit mark last."""
    root = settings.root
    if not storage.exists(f"{root}/{paths.COMPLETE}"):
        complete = _write_sidecars(shards, settings)
        keep = {*complete["files"], paths.COMPLETE}  # another run may have written it
        for path in set(storage.list_files(root)) - keep:
            storage.remove_file(f"{root}/{path}")
        storage.write(root, paths.COMPLETE, to_json(complete))
    remove_work(settings.work)


def remove_work(work: str) -> None:
    """Remove the folders `parts` and `plan`, then the plan id, from a work folder."""
    storage.remove_folder(f"{work}/parts")
    storage.remove_folder(f"{work}/plan")
    # Last, because until then the build can be resumed.
    storage.remove_file(f"{work}/{paths.PLAN_ID}")


def _write_sidecars(
    shards: Sequence[Shard], settings: CommitSettings
) -> dict[str, Any]:
    """Write the manifest and all sidecars; return the contents of the commit mark.

    Raises:
      JobError: too many images failed, or the files of a shard are missing or changed.
    """
    root = settings.root
    parts = list(prefetch(partial(_read_part, settings.work), shards))
    _check_counts(parts, settings.shards)
    failures = sorted(failure for part in parts for failure in part.failures)
    manifest.check_failures(
        failures,
        num_images=settings.num_chosen,
        max_fraction=settings.max_failure_fraction,
        problem="chosen images failed",
        remedy="the good shards are kept: repair the images or raise "
        "--max_failure_fraction, then run again with --resume",
    )
    written_splits = {part.shard.split for part in parts if part.num_images}
    parts = [part for part in parts if part.shard.split in written_splits]
    dataset = describe_dataset(parts, failures, settings)
    filled = [part.shard for part in parts if part.num_images]
    with ThreadPoolExecutor(1) as pool:  # pyarrow encodes without the GIL
        merging = pool.submit(
            manifest.merge_parts, settings.work, filled, f"{root}/{paths.MANIFEST}"
        )
        sidecars = list(_make_sidecars(dataset, failures, settings))
        merging.result()
    written = [f for part in parts for files in part.files.values() for f in files]
    manifest_file = _describe(root, paths.MANIFEST)
    written.append(manifest_file)
    written += [_describe(root, path) for path in settings.more_files]
    try:
        sheet = contact_sheet.make_preview(root, settings.table)
    except DataError as error:
        raise JobError(
            f"a shard changed while it was committed ({error}); run again with --resume"
        ) from error
    for path, data in [
        (paths.PREVIEW, sheet),
        *sidecars,
        *croissant.sidecars(dataset, manifest_file).items(),
    ]:
        written.append(storage.write(root, path, data))
    checksums = {file.path: file.sha256 for file in sorted(written)}
    return {"subset_id": settings.subset_id, "files": checksums}


def _check_counts(parts: Sequence[Part], planned: Sequence[PlannedShard]) -> None:
    num_planned = dict(planned)
    wrong = [
        f"shard {part.shard} has {part.num_images} images and {len(part.failures)} "
        f"failures, not {num_planned[part.shard]} in total"
        for part in parts
        if part.num_images + len(part.failures) != num_planned[part.shard]
    ]
    if wrong:
        raise JobError("\n".join([*cut_lines(wrong), _REMEDY]))


def _read_part(work: str, shard: Shard) -> Part:
    part = manifest.read_part(work, shard)
    if part is None:
        raise JobError(f"shard {shard} is gone or damaged; run again with --resume")
    return part


def _describe(root: str, path: str) -> WrittenFile:
    described = storage.describe_file(root, path)
    if described is None:
        raise JobError(f"{root}/{path} is gone; run again with --resume")
    return described


def describe_dataset(
    parts: Sequence[Part], failures: Sequence[Failure], settings: CommitSettings
) -> Dataset:
    """Return the metadata of a dataset, with the counts of written images."""
    described = statistics.describe(
        table=settings.table,
        found=settings.found,
        bad=settings.bad,
        chosen=settings.chosen,
        failures=failures,
        difficulty=settings.difficulty,
    )
    return Dataset(
        name=settings.name,
        version=settings.version,
        subset_id=settings.subset_id,
        formats=tuple(settings.formats),
        labels=tuple(describe_labels(settings.table)),
        splits=tuple(_describe_splits(parts)),
        recipe=dict(settings.recipe),
        statistics={
            "subset_id": settings.subset_id,
            **described,
            "oddities": statistics.count_conversions(parts),
        },
    )


def describe_labels(table: GroupTable) -> Iterator[LabelInfo]:
    """Yield the name, folder and classes of every group, in label order."""
    for label, (name, folder) in enumerate(
        zip(table.names, table.folders, strict=True)
    ):
        rows = [row for row in table.rows if row.group == label]
        yield LabelInfo(
            label,
            name,
            folder,
            tuple(row.wnid for row in rows),
            tuple(row.class_index for row in rows),
        )


def _describe_splits(parts: Sequence[Part]) -> Iterator[SplitInfo]:
    for split in sorted({part.shard.split for part in parts}):
        own = [part for part in parts if part.shard.split == split]
        yield SplitInfo(
            name=split,
            num_images=sum(part.num_images for part in own),
            shard_lengths=tuple(part.num_images for part in own),
            files={
                name: tuple(file for part in own for file in part.files[name])
                for name in own[0].files
            },
        )


def _make_sidecars(
    dataset: Dataset, failures: Sequence[Failure], settings: CommitSettings
) -> Iterator[tuple[str, bytes]]:
    yield paths.GROUPS, groups.to_csv(settings.table)
    yield paths.RECIPE, to_json(settings.recipe)
    yield paths.STATISTICS, to_json(dataset.statistics)
    yield paths.FAILURES, manifest.write_failures(failures)
    for name in settings.formats:
        yield from formats.load(name).sidecars(dataset).items()
    yield from dataset_card.sidecars(dataset).items()


def _remove_others(root: str, keep: set[str]) -> None:
    """Remove files and empty folders that do not belong to a local dataset.

    Empty group folders in `folders` are kept, unless their whole split is empty.

    Args:
      root: folder of the dataset while it is written.
      keep: paths of the dataset's files, relative to `root`.
    """
    for path in list(storage.list_files(root)):
        if path not in keep and path != paths.PLAN_ID:
            Path(root, path).unlink()
    storage.remove_folder(f"{root}/parts")
    storage.remove_folder(f"{root}/plan")
    splits = [str(Path(p).parent) for p in formats.list_group_folders()]
    for folder in [f for p in ("*", *splits) for f in Path(root).glob(f"{p}/")]:
        if next(storage.list_files(str(folder)), None) is None:
            storage.remove_folder(str(folder))
    Path(root, paths.PLAN_ID).unlink(
        missing_ok=True
    )  # last, because until then the build can be resumed
