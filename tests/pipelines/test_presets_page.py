"""Test that docs/presets.md is up to date, and that its ids are those of builds."""

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import presets
from tests import building
from transforms.index import table as index_table
from transforms.labels import class_lists, validation

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "presets.md"


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs/site/presets.py"
    spec = importlib.util.spec_from_file_location("presets_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(generator):
    assert PAGE.read_text() == "".join(generator.list_rows()), (
        "run python docs/site/presets.py"
    )


def test_page_names_every_preset():
    text = PAGE.read_text()
    assert all(f"`{name}`" in text for name in presets.PRESETS)


@pytest.mark.parametrize("preset", ["imagenette", "breeds_living17"])
def test_validation_ids_are_those_of_builds(generator, tmp_path, preset):
    labels = validation.official_labels()
    rows = [
        (key, wnid, "validation", 0, "val.tar", n, 1, "raw")
        for n, (key, wnid) in enumerate(labels.items())
    ]
    columns = [pa.array(c, f.type) for c, f in zip(
        zip(*rows, strict=True), index_table.SCHEMA, strict=True
    )]  # fmt: skip
    part = tmp_path / "part.parquet"
    pa.parquet.write_table(pa.table(columns, schema=index_table.SCHEMA), part)
    index = tmp_path / "index.parquet"
    index_table.merge_parts([str(part)], str(index), roots=[str(tmp_path)], strays=[])
    defaults = dict.fromkeys(building.FLAGS)
    folder = building.run(
        index,
        tmp_path,
        **{**defaults, "preset": preset, "name": "a", "plan_only": True},
    )
    subset_id = building.read_json(folder, "recipe.json")["subset_id"]
    options, table = generator.group(preset)
    assert generator.compute_validation_id(options, table) == subset_id
    assert f"`{subset_id[:12]}`" in PAGE.read_text()


def test_sources_are_known():
    for name in (*class_lists.NAMES, *class_lists.GROUPED_NAMES):
        subset = class_lists.load_subset(name)
        assert subset.source
        assert subset.title
