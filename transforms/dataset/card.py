"""Generate the dataset card (README.md), classes.json and the difficulty plot.

Local paths are replaced by `PATH/TO`, because the files of a dataset must not depend on
where it was built.
"""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from transforms import formats
from transforms.dataset import paths
from transforms.dataset import statistics as dataset_statistics
from transforms.dataset.difficulty_histogram import Series, draw_histogram
from transforms.formats import CITATION, TERMS, Dataset, LabelInfo
from transforms.labels import classes
from transforms.records import JSON, to_json

_MAX_LABELS_SHOWN = 250  # longer tables are cut
_LABELS_OF_CUT_TABLE = 100
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
_COMMAND_WIDTH = 60  # characters; later flags start a new line


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return the contents, by path, of the files that do not depend on the format."""
    labels: JSON = [label._asdict() for label in dataset.labels]
    files = {
        "README.md": _write_card(dataset).encode(),
        "classes.json": to_json(labels),
    }
    if plot := _draw_difficulty(dataset):
        files[paths.DIFFICULTY] = f"{plot}\n".encode()
    return files


def _draw_difficulty(dataset: Dataset) -> str:
    """Draw difficulty histograms of all and of selected training images as SVG.

    Return "" if the difficulty is unknown.
    """
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
    recipe, columns = dataset.recipe, ("setting", "value")
    versions = _scalars(_get_mapping(recipe, "versions"))
    sections = (
        _introduction(dataset),
        _describe_warnings(dataset),
        _table("Recipe", columns, _scalars(recipe)),
        _table("Images", columns, _describe_images(recipe)),
        _table("Software", ("package", "version"), versions),
        _describe_command(dataset),
        _table("Counts", ("images", "number"), _scalars(_totals(dataset))),
        _describe_difficulty(dataset),
        _labels(dataset),
        _loading(dataset),
        _FIELDS,
        _LICENCE,
        _cite(dataset),
    )
    return f"---\n{front}---\n\n" + "\n".join(text for text in sections if text)


def _front_matter(dataset: Dataset) -> dict[str, JSON]:
    num_images = sum(split.num_images for split in dataset.splits)
    magnitude = max(len(str(num_images)) - 3, 0)
    front: dict[str, JSON] = {
        **formats.FRONT_MATTER,
        "pretty_name": dataset.name,
        "size_categories": [_SIZES[min(magnitude, len(_SIZES) - 1)]],
    }
    for name in dataset.formats:
        if describe := getattr(formats.load(name), "front_matter", None):
            front |= describe(dataset)
    return front


def _introduction(dataset: Dataset) -> str:
    num_classes = sum(len(label.wnids) for label in dataset.labels)
    splits = _table(
        "",
        ("split", "images", "shards"),
        ((s.name, f"{s.num_images:,}", len(s.shard_lengths)) for s in dataset.splits),
    )
    sources = "".join(
        f"\n{line[0].upper()}{line[1:]}.\n"
        for line in dataset_statistics.describe_splits(dataset.statistics)
    )
    return f"""\
# {dataset.name}

A small ImageNet, for research that has to tell good models from bad ones at a fraction
of the cost: {len(dataset.labels)} groups, made of {num_classes} classes.

Version {dataset.version}, subset id `{dataset.subset_id}`. Datasets with the same
images, labels and image settings have the same id. Give it with your figures: they do
not compare with those on ImageNet itself, nor with those on another subset.

![Some images of each group](__meta__/preview.jpg)
{splits}{sources}"""


def _describe_warnings(dataset: Dataset) -> str:
    """List how the input differs from ImageNet; "" if it does not."""
    warnings: Any = dataset.recipe.get("input_warnings", ())
    if not warnings:
        return ""
    lines = "\n".join(f"- {warning}" for warning in warnings)
    return (
        "## Differences from ImageNet\n\nThe input from which the images were chosen "
        f"differs from ImageNet:\n\n{lines}\n"
    )


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple]) -> str:
    """Write a Markdown table under a heading; "" if it has no rows."""
    lines = [_row(row) for row in rows]
    if not lines:
        return ""
    heading = f"## {title}\n\n" if title else "\n"
    rule = "|".join(" --- " for _ in columns)
    return heading + "\n".join([_row(columns), f"|{rule}|", *lines]) + "\n"


def _totals(dataset: Dataset) -> Mapping[str, JSON]:
    sources = _get_mapping(dataset.statistics, "validation")
    named = {"official": "validation, official", "held_out": "validation, held out"}
    return {
        **_get_mapping(dataset.statistics, "totals"),
        **{named[name]: count for name, count in sources.items() if name in named},
    }


def _get_mapping(values: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def _row(cells: tuple) -> str:
    texts = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(texts) + " |"


def _scalars(values: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """Yield the scalar values except `command`, sorted by name, as rows of a table."""
    for name, value in sorted(values.items()):
        if isinstance(value, str | int | float) and name != "command":
            yield name, value


def _describe_images(recipe: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    settings = _get_mapping(recipe, "images")
    versions = _get_mapping(recipe, "versions")
    if settings and versions:
        pillow, jpeg = versions.get("pillow"), versions.get("libjpeg_turbo")
        yield "codec", f"JPEG, by Pillow {pillow} with libjpeg-turbo {jpeg}"
    yield from _scalars(settings)


def _describe_command(dataset: Dataset) -> str:
    """Return the section with the build command; "" if the recipe has no command."""
    command = dataset.recipe.get("command")  # not in datasets of version 0.1.0
    if not isinstance(command, str):
        return ""
    totals = _get_mapping(dataset.statistics, "totals")
    num_failed, num_chosen = totals.get("failed"), totals.get("chosen")
    if isinstance(num_failed, int) and isinstance(num_chosen, int) and num_failed:
        share = math.ceil(1000 * num_failed / num_chosen) / 1000
        command += f" --max_failure_fraction {share}"
    lines = [""]
    for word in shlex.split(command):
        quoted = shlex.quote(word)
        width = len(lines[-1]) + len(quoted)
        if word.startswith("--") and width > _COMMAND_WIDTH:
            lines.append(f"   {quoted}")
        else:
            lines[-1] += f" {quoted}" if lines[-1] else quoted
    text = " \\\n".join(lines)
    return f"""\
## Build it again

```sh
{text}
```

`PATH_TO_IMAGENET` is the input whose images have the fingerprint
`{dataset.recipe["input_fingerprint"]}`. Other
versions of the software can write other bytes.
"""


def _labels(dataset: Dataset) -> str:
    labels = dataset.labels
    num_shown = (
        len(labels) if len(labels) <= _MAX_LABELS_SHOWN else _LABELS_OF_CUT_TABLE
    )
    rows = (
        (x.label, x.name, x.folder, len(x.wnids), ", ".join(_name_classes(x)))
        for x in labels[:num_shown]
    )
    columns = ("label", "name", "folder", "classes", "names of classes")
    num_more = len(labels) - num_shown
    more = f" {num_more} more labels are listed there." if num_more else ""
    return f"""\
## Labels

`classes.json` lists the classes of each label by wnid.{more}

<details>
<summary>{len(labels)} labels and their classes</summary>
{_table("", columns, rows)}
</details>
"""


def _name_classes(label: LabelInfo) -> Iterator[str]:
    return map(classes.display_name, label.wnids)


def _loading(dataset: Dataset) -> str:
    written = [name for name in formats.FORMATS if name in dataset.formats]
    texts = [formats.load(name).how_to_load(dataset) for name in written]
    return "## Loading it\n\n" + "\n".join(texts)


_FIELDS = """\
## Fields

`label` is the group, from 0; `fine_label` the class among ImageNet's 1000 in the order
of their wnids, -1 for a class outside them; `wnid` the class's WordNet id; `file_name`
ImageNet's own name of the image.
"""

_LICENCE = f"""\
## Licence

The images are ImageNet's, and stay under [ImageNet's terms of access]({TERMS}); that
page is what binds, this is a summary. Use them for non-commercial research and teaching
only. Nobody warrants anything, and you answer for your own use, copies of copyrighted
photographs included. Pass them on only to colleagues who have agreed to the terms
first. If you work for a company, it is bound as well. Princeton and Stanford may end
your access at any time. Do not publish this directory without a gate that asks for
agreement to these terms.
"""


def _cite(dataset: Dataset) -> str:
    """Write how to name the subset, and the BibTeX entries of it and of ImageNet."""
    name = dataset.name.replace("_", r"\_")
    recipe = _describe_recipe(dataset)
    note = recipe.replace("_", r"\_")
    return f"""\
## Citation

Cite ImageNet, and name the subset by its id and recipe:

> {dataset.name} {dataset.version} (subset id `{dataset.subset_id}`): {recipe}

```bibtex
{CITATION}

@misc{{{dataset.name},
  title = {{{{{name} {dataset.version}: a subset of ImageNet in {len(dataset.labels)} \
groups}}}},
  note = {{subset id {dataset.subset_id}; {note}}}
}}
```
"""


def _describe_recipe(dataset: Dataset) -> str:
    """Describe the choice of classes and images in one line."""
    recipe = dataset.recipe
    images = _get_mapping(recipe, "images")
    versions = _get_mapping(recipe, "versions")
    words = [
        f"{name} {value}"
        for name, value in (
            ("preset", recipe.get("preset")),
            ("grouping", recipe.get("grouping")),
            ("groups", len(dataset.labels)),
            ("training images per group", recipe.get("images_per_group")),
            ("sampling", recipe.get("sampling")),
            ("seed", recipe.get("seed")),
            ("image size", images.get("image_size")),
            ("resize mode", images.get("resize_mode")),
            ("built with imagenet-subsets", versions.get("imagenet-subsets")),
        )
        if value is not None
    ]
    return ", ".join(words)
