"""Chosen images and image settings → the subset id ↔ what every file says it is."""

import hashlib
import json

from transforms import paths
from transforms.labels import classes
from transforms.verification.opened import OpenedDataset
from transforms.verification.rows import Problems


def check_subset_id(dataset: OpenedDataset) -> Problems:
    """Hash the chosen images again, written or failed."""
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
            yield f"{name} says {subset_id}, the chosen images say {computed}"
    return f"{computed[:12]}, of {len(lines)} chosen images"


def check_groups(dataset: OpenedDataset) -> Problems:
    """See that groups.csv is the recipe's, and that its labels follow the rules."""
    table, recipe = dataset.table, dataset.recipe
    checksum = hashlib.sha256(dataset.read(paths.GROUPS)).hexdigest()
    if checksum != recipe["groups_sha256"]:
        yield "groups.csv is not the table whose sha256 recipe.json has"
    if table.num_groups != recipe["num_groups"]:
        yield f"{table.num_groups} groups, where the recipe has {recipe['num_groups']}"
    wnids = [row.wnid for row in table.rows]
    if wnids != sorted(set(wnids)):
        yield "groups.csv is not sorted by wnid, or has one twice"
    first_seen = list(dict.fromkeys(table.label_of.values()))
    if first_seen != list(range(table.num_groups)):
        yield f"labels are not 0, 1, … in the order of their wnids: {first_seen[:10]}"
    for row in table.rows:
        if row.class_index != classes.class_index(row.wnid):
            yield f"{row.wnid} is class {classes.class_index(row.wnid)}, not {row[1]}"
    pairs = {(row.group, row.group_name) for row in table.rows if row.group >= 0}
    if not len(pairs) == len(dict(pairs)) == len({name for _, name in pairs}):
        yield "a group has two names, or two groups have one"
    if list(table.folders) != sorted(table.folders):
        yield "the folders' names are not in the order of the labels"
    return f"{table.num_groups} groups of {len(table.label_of)} classes"


def check_recipe(dataset: OpenedDataset) -> Problems:
    """See that there are as many images as the recipe asks for."""
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
    return f"{', '.join(counts)}, chosen"
