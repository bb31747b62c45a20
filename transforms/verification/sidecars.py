"""Check the sidecars and the dataset card by regenerating them.

They are regenerated from the manifest, groups, recipe and statistics, and compared as
data: a different number or name is a mismatch, but different wording, e.g. by an older
version of this project, is not.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from transforms import formats
from transforms.dataset import card as dataset_card
from transforms.dataset import croissant, paths
from transforms.formats import Dataset, LabelInfo, SplitInfo
from transforms.images import decode
from transforms.records import JSON, WrittenFile
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems

_CARD = "README.md"
_WORDING = {"citation", "description", "location", "redistributionInfo"}
_CARD_FACTS = ("configs", "dataset_info", "pretty_name")


def describe(dataset: DatasetFiles) -> Dataset:
    """Build the dataset description that sidecars are generated from."""
    recipe = dataset.recipe
    return Dataset(
        name=recipe["name"],
        version=recipe["dataset_version"],
        subset_id=dataset.mark.subset_id,
        formats=dataset.formats,
        labels=tuple(_describe_labels(dataset)),
        splits=tuple(_describe_splits(dataset)),
        recipe=recipe,
        statistics=dataset.statistics,
    )


def _describe_labels(dataset: DatasetFiles) -> Iterator[LabelInfo]:
    table = dataset.table
    for label, folder in enumerate(table.folders):
        rows = [row for row in table.rows if row.group == label]
        wnids = tuple(row.wnid for row in rows)
        indices = tuple(row.class_index for row in rows)
        yield LabelInfo(label, table.names[label], folder, wnids, indices)


def _describe_splits(dataset: DatasetFiles) -> Iterator[SplitInfo]:
    lengths = {split: [0] * count for split, count in dataset.num_shards.items()}
    for split, shard in dataset.rows("split", "shard"):
        lengths[split][shard] += 1
    for split, of_shards in lengths.items():
        files = {
            name: tuple(
                _describe_file(
                    dataset, dataset.locate_shard(name, split=split, shard=n)
                )
                for n in range(len(of_shards))
            )
            for name in dataset.formats
            if formats.has_shard_files(name)
        }
        yield SplitInfo(
            name=split,
            num_images=sum(of_shards),
            shard_lengths=tuple(of_shards),
            files=files,
        )


def _describe_file(dataset: DatasetFiles, path: str) -> WrittenFile:
    size = dataset.sizes.get(path) or 0
    return WrittenFile(path, size, dataset.mark.files.get(path, ""))


def make_expected(dataset: DatasetFiles) -> dict[str, bytes]:
    """Regenerate the sidecars and the dataset card.

    Returns:
      The expected contents by path.
    """
    described = describe(dataset)
    expected = dataset_card.sidecars(described)
    if paths.CROISSANT in dataset.mark.files:  # not in datasets of version 0.1.0
        expected |= croissant.sidecars(
            described, _describe_file(dataset, paths.MANIFEST)
        )
    for name in dataset.formats:
        expected |= formats.load(name).sidecars(described)
    return expected


def check_sidecars(dataset: DatasetFiles) -> Problems:
    """Check that each sidecar contains the regenerated data, whatever its wording."""
    expected = make_expected(dataset)
    for path, data in expected.items():
        wanted, found = _facts(path, data), _facts(path, dataset.read(path))
        for where in _differences(wanted, found):
            yield f"{path}: {where}"
    return f"{', '.join(sorted(expected))}"


def check_wording(dataset: DatasetFiles) -> Problems:
    """Check that each sidecar, including its wording, equals the regenerated one."""
    for path, data in make_expected(dataset).items():
        if dataset.read(path) != data:
            yield f"{path} differs in wording from this version's"
    return "card and descriptions"


def check_preview(dataset: DatasetFiles) -> Problems:
    """Check that the contact sheet is a decodable image."""
    yield from ()
    image = decode.open_image(dataset.read(paths.PREVIEW))
    size = f"{image.width}x{image.height}"
    decode.decode(image)
    return size


def _facts(path: str, data: bytes) -> JSON:
    """Parse a sidecar and return its data without free text such as descriptions."""
    text = data.decode()
    if Path(path).name == _CARD:
        front = yaml.safe_load(text.split("---\n", 2)[1])
        return {name: front.get(name) for name in _CARD_FACTS}
    if not path.endswith(".json"):
        return text.splitlines()
    value: JSON = json.loads(text)
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if k not in _WORDING}
    return value


def _differences(wanted: JSON, found: JSON, where: str = "") -> Iterator[str]:
    """Yield a message for each difference between two JSON values, recursively.

    Args:
      wanted: the expected value.
      found: the actual value.
      where: path of the value in its document, for messages.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted({*wanted, *found}, key=str):
            if name in wanted and name in found:
                yield from _differences(wanted[name], found[name], f"{where}.{name}")
            else:
                state = "missing" if name in wanted else "unexpected"
                yield f"{where}.{name} is {state}"
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{where or 'it'} has {len(found)} entries, not {len(wanted)}"
        for number, pair in enumerate(zip(wanted, found, strict=False)):
            yield from _differences(*pair, f"{where}[{number}]")
    elif wanted != found or type(wanted) is not type(found):
        yield f"{where or 'it'} is {found!r}, not {wanted!r}"
