"""Check manifest, groups, counts, files and recipe of a dataset against each other."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from transforms import formats, seeds, storage
from transforms.dataset import paths
from transforms.dataset import statistics as dataset_statistics
from transforms.images.settings import is_smaller_than_asked
from transforms.labels import classes
from transforms.verification import sidecars
from transforms.verification.dataset import (
    SHA256,
    CheckedFile,
    DatasetFiles,
    FileResults,
)
from transforms.verification.results import Problems

Counts = Mapping[str, Mapping[str, int]]  # wnid → split → images
_BY_SPLIT = ("found", "unusable", "chosen", "failed", "written")


def check_mark(dataset: DatasetFiles) -> Problems:
    """Check that the commit mark exists and is well-formed."""
    yield from ()
    mark = dataset.mark
    return f"subset {mark.subset_id[:12]}, {len(mark.files)} files"


def check_files(results: FileResults) -> Problems:
    """Check that the dataset has exactly the files and checksums in the commit mark.

    Empty folders are also reported, except group folders, which may be empty.
    """
    dataset = results.dataset
    listed = dataset.mark.files
    found = dataset.sizes
    for path in sorted(found.keys() - {*listed, paths.COMPLETE}):
        yield f"{path} exists, but complete.json does not list it"
    for path in sorted(_find_empty_folders(dataset)):
        yield f"{path}/ is an empty folder"
    for path in listed:
        if path not in found:
            yield f"{path} is missing"
        elif found[path] is None:
            yield f"{path} is not a file"
    for path in dataset.list_present():
        checked = results.checked.get(path, CheckedFile("", f"{path} was not read"))
        if checked.problem:
            yield checked.problem
        elif checked.sha256 != listed[path]:
            yield (
                f"{path} has other bytes (sha256 {checked.sha256[:12]}…): it is "
                "damaged or was changed; copy it again, or build the dataset again"
            )
    hashed = [path for path, file in results.checked.items() if file.sha256]
    total = sum(found[path] or 0 for path in hashed)
    return f"{len(hashed)} files, {total / 1e6:,.1f} MB, sha256"


def _find_empty_folders(dataset: DatasetFiles) -> Iterator[str]:
    """Yield the paths of empty folders, except group folders, which may be empty."""
    if storage.is_remote(dataset.directory):
        return
    group_folders = formats.list_group_folders()
    for folder, subfolders, names in os.walk(dataset.directory):
        path = Path(folder).relative_to(dataset.directory)
        # Relative patterns match from the right.
        is_group = any(Path("/", path).match(f"/{p}") for p in group_folders)
        if not subfolders and not names and not is_group:
            yield path.as_posix()


def check_layout(dataset: DatasetFiles) -> Problems:
    """Check that the commit mark lists exactly the files that a build would write."""
    expected = set(_expected_files(dataset))
    listed = dataset.mark.files.keys()
    for path in sorted(expected - listed):
        yield f"complete.json does not list {path}"
    for path in sorted(listed - expected):
        yield f"complete.json lists {path}, which is not a file of this dataset"
    return f"{', '.join(dataset.formats)}: {len(expected)} files"


def _expected_files(dataset: DatasetFiles) -> Iterator[str]:
    yield from (
        paths.FAILURES,
        paths.GROUPS,
        paths.MANIFEST,
        paths.PREVIEW,
        paths.RECIPE,
        paths.STATISTICS,
    )
    if paths.SAMPLES in dataset.mark.files:
        yield paths.SAMPLES
    yield from sidecars.make_expected(dataset)
    for name in dataset.formats:
        if formats.has_shard_files(name):  # also of shards without images
            for split, num_shards in dataset.num_shards.items():
                for shard in range(num_shards):
                    yield dataset.locate_shard(name, split=split, shard=shard)
            continue
        columns = dataset.rows("split", "shard", "label", "key")
        for split, shard, label, key in columns:
            yield dataset.locate_image(
                name, split=split, shard=shard, label=label, key=key
            )


def check_subset_id(dataset: DatasetFiles) -> Problems:
    """Check the subset id by recomputing it from all selected images.

    Selected images are those in the manifest and those in failures.csv.
    """
    lines = [
        f"{key} {split} {label} {wnid}\n"
        for key, split, label, wnid in dataset.rows("key", "split", "label", "wnid")
    ]
    lines += [f"{f.key} {f.split} {f.label} {f.wnid}\n" for f in dataset.failures]
    settings = json.dumps(dataset.recipe["images"], sort_keys=True)
    digest = hashlib.sha256(f"{settings}\n".encode())
    for line in sorted(lines):
        digest.update(line.encode())
    computed = digest.hexdigest()
    said = {
        "complete.json": dataset.mark.subset_id,
        "recipe.json": dataset.recipe["subset_id"],
        "statistics.json": dataset.statistics["subset_id"],
    }
    for name, subset_id in said.items():
        if subset_id != computed:
            yield f"{name} has {subset_id}, the selected images give {computed}"
    return f"{computed[:12]}, of {len(lines)} selected images"


def check_groups(dataset: DatasetFiles) -> Problems:
    """Check groups.csv against the recipe, and its rows for consistency.

    Labels must be numbered by the first wnid of each group, and group names unique.
    """
    table, recipe = dataset.table, dataset.recipe
    checksum = hashlib.sha256(dataset.read(paths.GROUPS)).hexdigest()
    if checksum != recipe["groups_sha256"]:
        yield "the sha256 of groups.csv differs from that in recipe.json"
    if table.num_groups != recipe["num_groups"]:
        yield f"{table.num_groups} groups, but the recipe has {recipe['num_groups']}"
    wnids = [row.wnid for row in table.rows]
    if wnids != sorted(set(wnids)):
        yield "groups.csv is not sorted by wnid, or has a wnid twice"
    first_seen = list(dict.fromkeys(table.label_of.values()))
    if first_seen != list(range(table.num_groups)):
        yield f"labels are not 0, 1, … in the order of their wnids: {first_seen[:10]}"
    for row in table.rows:
        if row.class_index != classes.class_index(row.wnid):
            yield f"{row.wnid} is class {classes.class_index(row.wnid)}, not {row[1]}"
    pairs = {(row.group, row.group_name) for row in table.rows if row.group >= 0}
    if not len(pairs) == len(dict(pairs)) == len({name for _, name in pairs}):
        yield "a group has two names, or two groups share a name"
    if list(table.folders) != sorted(table.folders):
        yield "the names of the folders are not in the order of the labels"
    return f"{table.num_groups} groups of {len(table.label_of)} classes"


def check_recipe(dataset: DatasetFiles) -> Problems:
    """Check that splits and numbers of images match the recipe."""
    recipe = dataset.recipe
    training = {"train"} if recipe["folds"] == 1 else {"fold_a", "fold_b"}
    if not set(dataset.splits) <= {*training, "validation"}:
        yield f"the splits are {', '.join(dataset.splits)}; folds={recipe['folds']}"
    chosen = dict.fromkeys(range(dataset.table.num_groups), 0)
    for split, label in dataset.rows("split", "label"):
        chosen[label] += split != "validation"
    for failure in dataset.failures:
        chosen[failure.label] += failure.split != "validation"
    asked = recipe["images_per_group"]
    if recipe["sampling_options"].get("scope") == "set":  # groups differ in size
        total = sum(chosen.values())
        if asked is not None and total != asked * len(chosen):
            yield f"there are {total} training images, not {asked * len(chosen)}"
        asked = None
    for label, count in chosen.items():
        if asked is not None and count not in {0, asked}:
            yield f"group {label} has {count} training images, not {asked}"
    num_validation = dataset.num_chosen.get("validation", 0)
    least = recipe["min_validation_images"]
    if num_validation < least and not recipe["allow_small_validation"]:
        yield f"{num_validation} validation images, fewer than {least}"
    counts = (f"{count} {split}" for split, count in dataset.num_chosen.items())
    return f"{', '.join(counts)}, selected"


def check_keys(dataset: DatasetFiles) -> Problems:
    """Check that every selected image, written or failed, occurs exactly once."""
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


def check_labels(dataset: DatasetFiles) -> Problems:
    """Check that labels match groups.csv, and that fine labels are class indices."""
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
    return f"{labels} labels, as in groups.csv"


def check_sources(dataset: DatasetFiles) -> Problems:
    """Check that each image's source path, byte range and checksum are well-formed.

    Whether they are correct can only be checked by comparing with the input.
    """
    num_bytes = num_rows = 0
    names = ("key", "source", "source_offset", "source_length", "source_sha256")
    for key, source, offset, length, checksum in dataset.rows(*names):
        if not source or source.startswith("/") or ".." in source.split("/"):
            yield f"{key} comes from {source!r}, not a path in an input"
        is_row = source.endswith(".parquet")  # of a row group, both from 0
        if offset < 0 or length < 0 or not (length or is_row):
            yield f"{key} comes from {length} bytes at byte {offset}"
        if not SHA256.fullmatch(checksum):
            yield f"{key} has {checksum!r} as the sha256 of its source"
        num_rows += is_row
        num_bytes += 0 if is_row else length
    rows = f", {num_rows} rows of Parquet" if num_rows else ""
    return f"{num_bytes / 1e6:,.1f} MB of originals{rows}"


def check_order(dataset: DatasetFiles) -> Problems:
    """Check each image's shard and position by recomputing them from the recipe's seed.

    The selected images of a split, in hash order, are divided into shards of equal size
    (±1). Failed images are then removed from their shards.
    """
    rows = dataset.rows("split", "shard", "position", "key")
    for expected in _deal(dataset):
        found = next(rows, None)
        if found != expected:
            yield f"{found} instead of {expected}"
    for found in rows:
        yield f"{found} is unexpected"
    shards = (f"{count} {split}" for split, count in dataset.num_shards.items())
    return f"seed {dataset.recipe['seed']}; shards: {', '.join(shards)}"


def _deal(dataset: DatasetFiles) -> Iterator[tuple[str, int, int, str]]:
    """Yield the expected (split, shard, position, key) of each written image."""
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


def check_counts(dataset: DatasetFiles) -> Problems:
    """Check the counts in statistics.json by recounting them per class and in total.

    For each class, found = chosen + left out and chosen = written + failed. The number
    of images found in the input cannot be recounted, only checked against this sum.
    The counts of conversions and the totals of difficulty histograms are also checked.
    """
    statistics = dataset.statistics
    written = _count(dataset.rows("wnid", "split"))
    failed = _count((failure.wnid, failure.split) for failure in dataset.failures)
    listed = [entry["wnid"] for entry in statistics["classes"]]
    if listed != [row.wnid for row in dataset.table.rows]:
        yield "the classes are not those of groups.csv"
    for entry in statistics["classes"]:
        yield from _check_class(dataset, entry, written=written, failed=failed)
    for wnid in sorted({*written, *failed} - set(listed)):
        yield f"{wnid} has images and is not listed"
    yield from _check_sums(dataset)
    yield from _check_conversions(dataset)
    yield from _check_difficulty(dataset)
    totals = statistics["totals"]
    return ", ".join(f"{totals[name]} {name.replace('_', ' ')}" for name in totals)


def _count(pairs: Iterator[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (wnid, split), count in Counter(pairs).items():
        counts.setdefault(wnid, {})[split] = count
    return counts


def _check_class(
    dataset: DatasetFiles, entry: Mapping[str, Any], *, written: Counts, failed: Counts
) -> Iterator[str]:
    wnid = entry["wnid"]
    own, lost = written.get(wnid, {}), failed.get(wnid, {})
    chosen = {s: own.get(s, 0) + lost.get(s, 0) for s in {*own, *lost}}
    expected = {
        "label": dataset.table.label_of.get(wnid),
        "failed": lost,
        "chosen": chosen,
        "written": {split: own.get(split, 0) for split in chosen},
        "left_out": sum(entry["found"].values()) - sum(chosen.values()),
    }
    if "held_out" in entry:  # not in datasets of version 0.1.0
        official = entry["found"].get("validation", 0)
        expected["held_out"] = max(chosen.get("validation", 0) - official, 0)
    for name, value in expected.items():
        if entry[name] != value:
            yield f"{wnid}: {name} is {entry[name]}, counted {value}"
    if entry["left_out"] < 0 or min(entry["found"].values(), default=0) < 0:
        yield f"{wnid}: more images are selected than found"


def _check_sums(dataset: DatasetFiles) -> Iterator[str]:
    statistics = dataset.statistics
    totals = {
        name: sum(sum(entry[name].values()) for entry in statistics["classes"])
        for name in _BY_SPLIT
    }
    totals["left_out"] = sum(entry["left_out"] for entry in statistics["classes"])
    if statistics["totals"] != totals:
        yield f"totals are {statistics['totals']}, counted {totals}"
    if (stated := statistics.get("validation")) is not None:
        counted = dataset_statistics.describe_validation(statistics["classes"])
        if stated != counted:
            yield f"validation is {stated}, counted {counted}"
    written = Counter(dataset.rows("label", "split"))
    groups = [
        {
            "label": label,
            "name": name,
            "written": {split: written[label, split] for split in dataset.splits},
        }
        for label, name in enumerate(dataset.table.names)
    ]
    if len(groups) != len(statistics["groups"]):
        yield f"{len(statistics['groups'])} groups, counted {len(groups)}"
    for found, group in zip(statistics["groups"], groups, strict=False):
        if found != group:
            yield f"group is {found}, counted {group}"


def _check_conversions(dataset: DatasetFiles) -> Iterator[str]:
    settings = dataset.image_settings
    smaller = sum(
        is_smaller_than_asked(width, height, settings)
        for width, height in dataset.rows("width", "height")
    )
    conversions = dataset.statistics["oddities"]
    if (stated := conversions.get("smaller_than_asked", 0)) != smaller:
        yield f"smaller_than_asked is {stated}, counted {smaller}"
    for name, count in conversions.items():
        if not 0 < count <= dataset.num_images:
            yield f"{count} images are {name}, of {dataset.num_images}"


def _check_difficulty(dataset: DatasetFiles) -> Iterator[str]:
    """Check that each difficulty histogram counts every training image once."""
    difficulty = dataset.statistics.get("difficulty")
    if (difficulty is not None) != (
        dataset.recipe.get("difficulty_sha256") is not None
    ):
        yield "only one of statistics.json and recipe.json has difficulty"
    in_groups = [e for e in dataset.statistics["classes"] if e["label"] is not None]
    expected = {
        "available": sum(entry["found"].get("train", 0) for entry in in_groups),
        "chosen": sum(
            count
            for split, count in dataset.num_chosen.items()
            if split != "validation"
        ),
    }
    if difficulty is None:
        return
    for name, count in expected.items():
        found = (
            sum(difficulty[name]["images_by_percent"])
            + difficulty[name]["without_score"]
        )
        if found != count:
            yield f"difficulty of {found} {name} images, counted {count}"


def check_leaks(dataset: DatasetFiles) -> Problems:
    """Check that no two splits contain images with identical source bytes."""
    splits_of: dict[bytes, set[str]] = {}
    for checksum, split in dataset.rows("source_sha256", "split"):
        splits_of.setdefault(bytes.fromhex(checksum), set()).add(split)
    shared = {key for key, splits in splits_of.items() if len(splits) > 1}
    images: dict[bytes, list[tuple[str, str, int]]] = {}
    columns = dataset.rows("source_sha256", "split", "key", "label") if shared else ()
    for checksum, split, key, label in columns:
        if (digest := bytes.fromhex(checksum)) in shared:
            images.setdefault(digest, []).append((split, key, label))
    for copies in images.values():
        named = " = ".join(f"{split} {key}" for split, key, _ in copies)
        differ = len({label for *_, label in copies}) > 1
        yield f"{named}{', with different labels' if differ else ''}"
    return f"{len(splits_of)} distinct images"


def check_repeats(dataset: DatasetFiles) -> Problems:
    """Count the images that are copies of another image in the same split.

    Copies have identical source bytes. They are not reported as problems.
    """
    yield from ()
    counts = Counter(dataset.rows("split", "source_sha256"))
    repeated = sum(count - 1 for count in counts.values())
    return f"{repeated} images are copies of another in the same split"
