"""A dataset or plan → the few lines that its maker wants to read."""

import json
from collections.abc import Mapping
from typing import Any

from transforms import paths, storage
from transforms.commit import CommitSettings

_LOADERS = {
    "webdataset": """\
import glob, webdataset
shards = sorted(glob.glob("{target}/{split}/*.tar"))
images = webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb")
image, label = next(iter(images.to_tuple("jpg", "cls")))""",
    "tfrecord": """\
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory("{target}")
images = builder.as_dataset(split="{split}")
example = next(iter(images))  # example["image"], example["label"]""",
    "parquet": """\
from datasets import load_dataset
images = load_dataset("{target}/parquet", split="{split}")
image, label = images[0]["image"], images[0]["label"]""",
    "folders": """\
from keras.utils import image_dataset_from_directory
images = image_dataset_from_directory(
    "{target}/folders/{split}", image_size=(224, 224))
batch, labels = next(iter(images))""",
}

# Readers of all kinds want a folder.
_FETCH = {
    "gs": "gcloud storage cp --recursive {target} .",
    "s3": "aws s3 cp --recursive {target} ./{version}",
}


def describe_plan(settings: CommitSettings) -> str:
    """Say what a plan holds."""
    lines = [f"plan of {settings.name} {settings.version}"]
    lines += [
        f"  {split}: {sum(counts.values())} images of {len(counts)} classes"
        for split, counts in settings.chosen.items()
    ]
    lines.append(f"  {settings.table.num_groups} groups, subset {settings.subset_id}")
    return "\n".join(lines)


def describe_dataset(target: str) -> str:
    """Say what was built, where it is, and how to load it."""
    statistics = json.loads(storage.read(f"{target}/{paths.STATISTICS}"))
    recipe = json.loads(storage.read(f"{target}/{paths.RECIPE}"))
    format_name = recipe["formats"][0]
    split = next(iter(statistics["groups"][0]["written"]))
    version = recipe["dataset_version"]
    fetch = _FETCH.get(target.partition("://")[0], "")
    fetch = fetch.format(target=target, version=version)
    place = f"./{version}" if fetch else target
    loader = _LOADERS[format_name].format(target=place, split=split)
    return "\n".join([
        f"{recipe['name']} {recipe['dataset_version']}, subset "
        f"{statistics['subset_id'][:12]}",
        *_describe_splits(statistics),
        *_describe_totals(statistics),
        f"  contact sheet: {target}/{paths.PREVIEW}",
        "",
        *(["fetch it:", f"    {fetch}", ""] if fetch else []),
        "load it:",
        *(f"    {line}" for line in loader.splitlines()),
        "",
        "prove it:",
        f"    python -m pipelines.verify {target}",
    ])


def _describe_splits(statistics: Mapping[str, Any]) -> list[str]:
    groups = statistics["groups"]
    lines = []
    for split in groups[0]["written"]:
        counts = [group["written"][split] for group in groups]
        least, most = min(counts), max(counts)
        each = f"{least}" if least == most else f"{least} to {most}"
        lines.append(
            f"  {split}: {sum(counts)} images, {each} in each of {len(groups)} groups"
        )
    return lines


def _describe_totals(statistics: Mapping[str, Any]) -> list[str]:
    totals, oddities = statistics["totals"], statistics["oddities"]
    lines = [
        f"  of {totals['found']} images found, {totals['left_out']} were left out, "
        f"{totals['failed']} failed"
    ]
    if smaller := oddities.get("smaller_than_asked"):
        lines.append(f"  {smaller} images are smaller than asked; --upscale enlarges")
    mended = {name: n for name, n in oddities.items() if name != "smaller_than_asked"}
    if mended:
        shown = ", ".join(f"{n} {name}" for name, n in mended.items())
        lines.append(f"  converted or noted: {shown}")
    return lines
