"""The manifest ↔ groups.csv, failures.csv and the recipe's seed, row by row."""

import pyarrow.compute as pc

from transforms import seeds
from transforms.labels import classes
from transforms.verification.opened import OpenedDataset
from transforms.verification.rows import Problems


def check_keys(dataset: OpenedDataset) -> Problems:
    """See that every chosen image stands in one split, once, written or failed."""
    seen: dict[str, str] = {}
    failed = ((failure.key, failure.split) for failure in dataset.failures)
    for key, split in [*dataset.rows("key", "split"), *failed]:
        before = seen.setdefault(key, split)
        if before != split:
            yield f"{key} is in {before} and in {split}: a leak"
        elif len(seen) == 0:
            yield key
    repeated = dataset.num_images + len(dataset.failures) - len(seen)
    if repeated:
        yield f"{repeated} keys stand there again"
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


def check_order(dataset: OpenedDataset) -> Problems:
    """Deal the chosen images over the shards again, by the recipe's seed.

    Before failures, the shards of a split are equal within one, and their images lie in
    the order of the seed's hash; a failed image leaves its shard one short.
    """
    seed = dataset.recipe["seed"]
    chosen: dict[str, list[str]] = {split: [] for split in dataset.splits}
    for key, split in dataset.rows("key", "split"):
        chosen[split].append(key)
    failed = {failure.key for failure in dataset.failures}
    for failure in dataset.failures:
        chosen[failure.split].append(failure.key)
    rows = dataset.rows("split", "shard", "position", "key")
    for split, keys in chosen.items():
        ranked = sorted(keys, key=_Rank(seed))
        size, longer = divmod(len(ranked), dataset.num_shards[split])
        ends = [longer * (size + 1)]
        for number in range(dataset.num_shards[split]):
            start = number * size + min(number, longer)
            end = start + size + (number < longer)
            written = [key for key in ranked[start:end] if key not in failed]
            for position, key in enumerate(written):
                found = next(rows, None)
                if found != (split, number, position, key):
                    yield f"{found} stands where {(split, number, position, key)} must"
        del ends
    shards = (f"{count} {split}" for split, count in dataset.num_shards.items())
    return f"seed {seed}; shards: {', '.join(shards)}"


class _Rank:
    pass
