"""The manifest ↔ groups.csv, failures.csv and the recipe's seed, row by row."""

from collections.abc import Iterator

import pyarrow.compute as pc

from transforms import seeds
from transforms.labels import classes
from transforms.verification.opened import SHA256, OpenedDataset
from transforms.verification.rows import Problems


def check_keys(dataset: OpenedDataset) -> Problems:
    """See that every chosen image is in one split, once, written or failed."""
    split_of: dict[str, str] = {}
    failed = ((failure.key, failure.split) for failure in dataset.failures)
    for key, split in [*dataset.rows("key", "split"), *failed]:
        if key not in split_of:
            split_of[key] = split
        elif split_of[key] != split:
            yield f"{key} is in {split_of[key]} and in {split}: a leak"
        else:
            yield f"{key} is in {split} twice"
    return f"{dataset.num_images} written, {len(dataset.failures)} failed"


def check_labels(dataset: OpenedDataset) -> Problems:
    """See that each label is its class's group, and each fine label its index."""
    label_of = dataset.table.label_of
    columns = dataset.rows("key", "wnid", "label", "fine_label")
    for key, wnid, label, fine_label in columns:
        if label != label_of.get(wnid):
            yield f"{key} ({wnid}) has label {label}, groups.csv {label_of.get(wnid)}"
        if fine_label != classes.class_index(wnid):
            yield f"{key} ({wnid}) has fine label {fine_label}"
    for failure in dataset.failures:
        if failure.label != label_of.get(failure.wnid):
            yield f"{failure.key} ({failure.wnid}) failed with label {failure.label}"
    labels = pc.count_distinct(dataset.manifest["label"]).as_py()
    return f"{labels} labels as groups.csv has them"


def check_sources(dataset: OpenedDataset) -> Problems:
    """See that each image tells where it came from, and nothing of whose machine.

    Whether that is true only the input can say.
    """
    num_bytes = num_rows = 0
    names = ("key", "source", "source_offset", "source_length", "source_sha256")
    for key, source, offset, length, checksum in dataset.rows(*names):
        if not source or source.startswith("/") or ".." in source.split("/"):
            yield f"{key} comes from {source!r}, no path in an input"
        is_row = source.endswith(".parquet")  # of a row group, both from 0
        if offset < 0 or length < 0 or not (length or is_row):
            yield f"{key} comes from {length} bytes at byte {offset}"
        if not SHA256.fullmatch(checksum):
            yield f"{key} has {checksum!r} as the sha256 of its source"
        num_rows += is_row
        num_bytes += 0 if is_row else length
    rows = f", {num_rows} rows of Parquet" if num_rows else ""
    return f"{num_bytes / 1e6:,.1f} MB of originals{rows}"


def check_order(dataset: OpenedDataset) -> Problems:
    """Deal the chosen images over the shards again, by the recipe's seed.

    Before failures, the shards of a split are equal within one, and their images lie in
    the order of the seed's hash; a failed image leaves its shard one short.
    """
    rows = dataset.rows("split", "shard", "position", "key")
    for expected in _deal(dataset):
        found = next(rows, None)
        if found != expected:
            yield f"{found} stands where {expected} must"
    for found in rows:
        yield f"{found} is too much"
    shards = (f"{count} {split}" for split, count in dataset.num_shards.items())
    return f"seed {dataset.recipe['seed']}; shards: {', '.join(shards)}"


def _deal(dataset: OpenedDataset) -> Iterator[tuple[str, int, int, str]]:
    """Yield (split, shard, position, key) of every image that was written."""
    keys_of: dict[str, list[str]] = {split: [] for split in dataset.splits}
    for key, split in dataset.rows("key", "split"):
        keys_of[split].append(key)
    for failure in dataset.failures:
        keys_of[failure.split].append(failure.key)
    failed = {failure.key for failure in dataset.failures}
    for split, keys in keys_of.items():
        orders = seeds.orders(dataset.recipe["seed"], "shuffle", keys).tolist()
        ranked = [key for _, key in sorted(zip(orders, keys, strict=True))]
        start = 0
        for shard in range(num_shards := dataset.num_shards[split]):
            end = start + len(ranked) // num_shards + (shard < len(ranked) % num_shards)
            written = [key for key in ranked[start:end] if key not in failed]
            for position, key in enumerate(written):
                yield split, shard, position, key
            start = end
