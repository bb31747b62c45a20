"""Write docs/presets.md: all presets, with their sources and fidelity.

Run it after a change of presets or of docs/study/training_free.csv:

    python docs/site/presets.py
"""

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipelines import grouping_flags, presets
from pipelines.building.options import BuildOptions
from transforms.dataset import plan
from transforms.grouping.table import GroupTable
from transforms.labels import class_lists, validation

PAGE = Path(__file__).parents[1] / "presets.md"
TABLE = PAGE.parent / "study" / "training_free.csv"
_ID_DIGITS = 12
_HEAD = """\
# Presets

`--preset NAME` of `pipelines.build` selects one of these. Four different lists are
called ImageNet-100 in papers; `python -m pipelines.identify PATH` identifies the list
that a folder, a file or a dataset contains.

- **τ-b**: Kendall's τ-b between the rankings of published models on the subset's
  validation images and on all of ImageNet's, with its 95 % confidence interval
  ([method](study/training_free.md)); `-`: not measured.
- **validation id**: the first 12 hexadecimal digits of a hash of the default image
  settings and of the key, split, label and class of every official validation image of
  the preset.
  For a published subset, this is the subset id of a build from the official validation
  images alone. The subset id of a build with training images also depends on the names
  of the 1,281,167 training images, which this program does not contain; `--plan_only`
  prints it.

`docs/site/presets.py` writes this page.
"""
_LISTS = """
## Published subsets

Without `--images_per_group`, all training images of the classes are selected. The names
in the second column are presets too.

| preset | other names | classes | groups | contents | source | τ-b | validation id |
| --- | --- | ---: | ---: | --- | --- | ---: | --- |
"""
_SIZES = f"""
## Sizes

All 1000 classes, in N groups of M training images each. The figures are for
`--grouping {presets.DEFAULT_GROUPING}`, the default. Source: Gao, "Subsets of ImageNet"
(2021).

| preset | groups | training images | τ-b | validation id |
| --- | ---: | ---: | ---: | --- |
"""


def read_fidelity() -> dict[tuple[str, str], str]:
    """Return the τ-b with its interval by recipe and number of groups."""
    with TABLE.open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r.get("answers", "all") == "all"]
    fidelity = {}
    for row in rows:
        cells = [row.get(name, "") for name in ("tau", "tau_low", "tau_high")]
        if all(cells):
            tau, low, high = (f"{float(cell):.3f}" for cell in cells)
            place = row.get("recipe", ""), row.get("num_groups", "")
            fidelity[place] = f"{tau} ({low} to {high})"
    return fidelity


def group(preset: str) -> tuple[BuildOptions, GroupTable]:
    """Return the options of a preset, and its groups of the 1000 classes."""
    options = BuildOptions(preset=preset).expand_preset()
    with contextlib.redirect_stderr(io.StringIO()):  # notes of the method
        table, _ = grouping_flags.group_classes(
            grouping_flags.list_official_classes(), options
        )
    return options, table


def compute_validation_id(options: BuildOptions, table: GroupTable) -> str:
    """Return the subset id of the official validation images of a preset."""
    rows = [
        (key, table.label_of[wnid], wnid)
        for key, wnid in validation.official_labels().items()
        if wnid in table.label_of
    ]
    keys, labels, wnids = zip(*rows, strict=True)
    images = pa.table({"key": keys, "label": labels, "wnid": wnids})
    lines = plan.format_lines(images, split=pa.scalar("validation"))
    return plan.compute_subset_id(lines, options.image_settings.describe())


def list_rows() -> Iterator[str]:
    """Yield the lines of the page."""
    fidelity = read_fidelity()
    yield _HEAD + _LISTS
    for name in (*class_lists.NAMES, *class_lists.GROUPED_NAMES):
        subset = class_lists.load_subset(name)
        options, table = group(name)
        num_groups = str(subset.num_groups)
        cells = (
            f"`{name}`",
            ", ".join(f"`{alias}`" for alias in subset.aliases) or "-",
            len(subset.group_of),
            num_groups,
            subset.title,
            re.sub(r"(https?://\S+)", r"<\1>", subset.source),
            fidelity.get((name, num_groups), "-"),
            f"`{compute_validation_id(options, table)[:_ID_DIGITS]}`",
        )
        yield f"| {' | '.join(map(str, cells))} |\n"
    yield _SIZES
    for name, (num_groups, images_per_group) in presets.SIZES.items():
        options, table = group(name)
        cells = (
            f"`{name}`",
            num_groups,
            f"{num_groups * images_per_group:,}",
            fidelity.get((presets.DEFAULT_GROUPING, str(num_groups)), "-"),
            f"`{compute_validation_id(options, table)[:_ID_DIGITS]}`",
        )
        yield f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    PAGE.write_text("".join(list_rows()), encoding="utf-8")
