"""Write the dataset's card (README.md), its labels (classes.json) and difficulty plot.

Hugging Face loads the tar shards by the front matter of the card. Paths are written as
`PATH/TO`, because no file of a dataset records where it was built.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from transforms import formats
from transforms.dataset import paths
from transforms.dataset.difficulty_histogram import Series, draw_histogram
from transforms.formats import Dataset, SplitInfo
from transforms.records import JSON, to_json

_TERMS = "https://www.image-net.org/download.php"
_MAX_LABELS_SHOWN = 100
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return the files that a dataset has in every format."""
    labels: JSON = [label._asdict() for label in dataset.labels]
    files = {
        "README.md": _write_card(dataset).encode(),
        "classes.json": to_json(labels),
    }
    if plot := _draw_difficulty(dataset):
        files[paths.DIFFICULTY] = f"{plot}\n".encode()
    return files


def _draw_difficulty(dataset: Dataset) -> str:
    """Draw the difficulty of all and of the selected training images; "" if unknown."""
    difficulty_by_set: Any = dataset.statistics.get("difficulty")
    if difficulty_by_set is None:
        return ""
    series = [
        Series(f"images {name}", of_images["images_by_percent"])
        for name, of_images in sorted(difficulty_by_set.items())
    ]
    return draw_histogram(series, caption="Training images by difficulty")


def _describe_difficulty(dataset: Dataset) -> str:
    if "difficulty" not in dataset.statistics:
        return ""
    return (
        "## Difficulty\n\nTraining images by the probability that a model gives to the "
        "right answer, all\nthere were and those chosen:\n\n"
        f"![Histogram of difficulty]({paths.DIFFICULTY})\n"
    )


def _write_card(dataset: Dataset) -> str:
    front = yaml.safe_dump(_front_matter(dataset), allow_unicode=True, sort_keys=False)
    sections = (
        _introduction(dataset),
        _table("Recipe", ("setting", "value"), _scalars(dataset.recipe)),
        _table("Counts", ("images", "number"), _scalars(_totals(dataset))),
        _describe_difficulty(dataset),
        _labels(dataset),
        _loading(dataset),
        _FIELDS,
        _LICENCE,
    )
    return f"---\n{front}---\n\n" + "\n".join(text for text in sections if text)


def _front_matter(dataset: Dataset) -> dict[str, JSON]:
    num_images = sum(split.num_images for split in dataset.splits)
    magnitude = max(len(str(num_images)) - 3, 0)
    front: dict[str, JSON] = {
        "license": "other",
        "license_name": "imagenet",
        "license_link": _TERMS,
        "pretty_name": dataset.name,
        "task_categories": ["image-classification"],
        "size_categories": [_SIZES[min(magnitude, len(_SIZES) - 1)]],
    }
    if "webdataset" in dataset.formats:
        front["configs"] = [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split.name, "path": f"{split.name}/*.tar"}
                    for split in dataset.splits
                ],
            }
        ]
        front["dataset_info"] = {
            "features": _features(dataset),
            "splits": [_count_split(split) for split in dataset.splits],
        }
    return front


def _features(dataset: Dataset) -> JSON:
    """Describe the members of the tars; members that are not listed are not loaded."""
    names = {str(label.label): label.name for label in dataset.labels}
    struct: JSON = [
        {"name": "file_name", "dtype": "string"},
        {"name": "fine_label", "dtype": "int64"},
        {"name": "label", "dtype": "int64"},
        {"name": "wnid", "dtype": "string"},
    ]
    return [
        {"name": "cls", "dtype": {"class_label": {"names": names}}},
        {"name": "jpg", "dtype": "image"},
        {"name": "json", "struct": struct},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def _count_split(split: SplitInfo) -> JSON:
    num_bytes = sum(file.num_bytes for file in split.files["webdataset"])
    return {
        "name": split.name,
        "num_bytes": num_bytes,
        "num_examples": split.num_images,
    }


def _introduction(dataset: Dataset) -> str:
    num_classes = sum(len(label.wnids) for label in dataset.labels)
    splits = _table(
        "",
        ("split", "images", "shards"),
        ((s.name, f"{s.num_images:,}", len(s.shard_lengths)) for s in dataset.splits),
    )
    return f"""\
# {dataset.name}

A small ImageNet, for research that has to tell good models from bad ones at a fraction
of the cost: {len(dataset.labels)} groups, made of {num_classes} classes.

Version {dataset.version}, subset id `{dataset.subset_id}`. Datasets with the same
images, labels and image settings have the same id. Give it with your figures: they do
not compare with those on ImageNet itself, nor with those on another subset.

![Some images of each group](__meta__/preview.jpg)
{splits}"""


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple]) -> str:
    """Write a Markdown table under a heading; "" if it has no rows."""
    lines = [_row(row) for row in rows]
    if not lines:
        return ""
    heading = f"## {title}\n\n" if title else "\n"
    rule = "|".join(" --- " for _ in columns)
    return heading + "\n".join([_row(columns), f"|{rule}|", *lines]) + "\n"


def _totals(dataset: Dataset) -> Mapping[str, JSON]:
    totals = dataset.statistics.get("totals", {})
    return totals if isinstance(totals, Mapping) else {}


def _row(cells: tuple) -> str:
    texts = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(texts) + " |"


def _scalars(values: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """Yield the scalar values, which fit into a table; `__meta__/` holds all values."""
    for name, value in sorted(values.items()):
        if isinstance(value, str | int | float):
            yield name, value


def _labels(dataset: Dataset) -> str:
    shown = dataset.labels[:_MAX_LABELS_SHOWN]
    rows = ((x.label, x.name, x.folder, len(x.wnids)) for x in shown)
    table = _table("Labels", ("label", "name", "folder", "classes"), rows)
    rest = len(dataset.labels) - len(shown)
    more = f" {rest} more labels stand there." if rest else ""
    return f"{table}\n`classes.json` lists each label's classes.{more}\n"


def _loading(dataset: Dataset) -> str:
    written = [name for name in formats.FORMATS if name in dataset.formats]
    texts = [formats.load(name).how_to_load(dataset) for name in written]
    return "## Loading it\n\n" + "\n".join(texts)


_FIELDS = """\
## Fields

`label` is the group, from 0; `fine_label` the class among ImageNet's 1000 in the order
of their wnids, -1 for a class outside them; `wnid` the class's WordNet id; `file_name`
ImageNet's own name of the image. In the tars `cls` is the label, and `json` has all.
"""

_LICENCE = f"""\
## Licence

The images are ImageNet's, and stay under [ImageNet's terms of access]({_TERMS}); that
page is what binds, this is a summary. Use them for non-commercial research and teaching
only. Nobody warrants anything, and you answer for your own use, copies of copyrighted
photographs included. Pass them on only to colleagues who have agreed to the terms
first. If you work for a company, it is bound as well. Princeton and Stanford may end
your access at any time. Do not publish this directory without a gate that asks for
agreement to these terms.

Cite Russakovsky et al., *ImageNet Large Scale Visual Recognition Challenge*,
International Journal of Computer Vision 115 (2015),
[doi:10.1007/s11263-015-0816-y](https://doi.org/10.1007/s11263-015-0816-y).
"""
