"""Test the group job: all methods on the 1000 classes, without images."""

import csv
import html.parser
import json
import re
from collections import Counter

import numpy as np
import pytest

from pipelines import confusion, group, index
from pipelines.group import GroupOptions
from tests import building, making_predictions
from transforms import grouping
from transforms.labels import class_lists
from transforms.labels.classes import load_classes


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    return making_predictions.write_top5(tmp_path_factory.mktemp("predictions"))


@pytest.fixture(scope="module")
def matrix(predictions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("confusion")
    confusion.main([f"--predictions={predictions[0]}", f"--output={folder}"])
    return folder / "confusion.npz"


def _group(tmp_path, *flags):
    group.main([*map(str, flags), f"--output={tmp_path}"])
    with (tmp_path / "groups.csv").open() as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((tmp_path / "groups.json").read_bytes())


class _Outline(html.parser.HTMLParser):
    """Records external links and unclosed tags."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in {"src", "href"} and v]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def _read_page(path):
    outline = _Outline()
    outline.feed(path.read_text())
    assert not outline.open
    assert all(link.startswith(("data:", "#")) for link in outline.links)
    return outline.text


@pytest.mark.parametrize("method", grouping.METHODS)
def test_every_method_writes_a_table_figures_and_a_page(
    tmp_path, matrix, method, capsys
):
    flags = ["--grouping", method, "--confusion", matrix]
    source = grouping.find_num_groups_source(method)
    flags += ["--num_groups", 20] if source == "flag" else []
    if method == "manual":
        starter = tmp_path / "mine.csv"
        starter.write_text(
            "wnid,group\n"
            + "".join(f"{c.wnid},{c.class_index % 20}\n" for c in load_classes())
        )
        flags += ["--groups", starter]
    rows, figures = _group(tmp_path, *flags)
    num_groups = 1000 if method == "all_classes" else 20
    if source == "method":
        num_groups = class_lists.load_subset(method).num_groups
    assert len(rows) == 1000
    assert len({row["group"] for row in rows if row["group"]}) == num_groups
    assert figures["grouping"] == method
    assert figures["sizes"]["num_groups"] == len(figures["groups"]) == num_groups
    assert 0 <= figures["captured"]["captured_share"] <= 1
    text = _read_page(tmp_path / "groups.html")
    assert f"{num_groups} groups of ImageNet's classes" in text
    assert "captured confusion" in text
    assert ("Position in WordNet" in text) == (method == "wordnet")
    has_chart = "Sizes of groups" in text
    assert has_chart == (figures["sizes"]["smallest"] < figures["sizes"]["largest"])
    for end in (".svg", ".pdf"):
        assert (tmp_path / f"figures/group_sizes{end}").exists() == has_chart
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_groups_of_an_index_show_their_images(class_folders, tmp_path):
    path = tmp_path / "index.parquet"
    index.main([f"--input={class_folders}", f"--output={path}"])
    flags = ["--grouping=random_groups", "--num_groups=3", "--images_per_group=30"]
    rows, _ = _group(tmp_path, f"--index={path}", *flags)
    assert len(rows) == 6
    page = _read_page(tmp_path / "groups.html")
    assert page.count("2\n40\n0\n30\n10") == 3  # classes, found, set aside, chosen


@pytest.mark.parametrize("method", ["wordnet", "random_groups"])
def test_build_and_group_make_the_same_groups(class_folders, tmp_path, method):

    dataset = building.run(class_folders, tmp_path, grouping=method)
    path = tmp_path / "index.parquet"
    index.main([f"--input={class_folders}", f"--output={path}"])
    _group(tmp_path, f"--index={path}", f"--grouping={method}", "--num_groups=3")
    expected = (dataset / "__meta__/groups.csv").read_bytes()
    assert (tmp_path / "groups.csv").read_bytes() == expected


def test_starter_can_be_edited_and_used(tmp_path):
    path = tmp_path / "starter.csv"
    group.main([f"--export_starter={path}"])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["wnid"] for row in rows] == [c.wnid for c in load_classes()]
    assert rows[0]["wordnet_path"].startswith("entity > ")
    for row in rows:
        row["group"] = row["wordnet_path"].split(" > ")[1]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    edited, figures = _group(tmp_path, "--grouping=manual", f"--groups={path}")
    names = {row["wordnet_path"].split(" > ")[1] for row in rows}
    assert {row["group_name"] for row in edited} == names
    assert figures["sizes"]["num_groups"] == len(names)


def test_starter_can_start_from_a_methods_groups(tmp_path):
    path = tmp_path / "starter.csv"
    group.main(["--grouping=curated", "--num_groups=30", f"--export_starter={path}"])
    with path.open() as file:
        assert {int(row["group"]) for row in csv.DictReader(file)} == set(range(30))


def test_edited_tables_are_not_overwritten(tmp_path, capsys):
    starter = f"--export_starter={tmp_path}/starter.csv"
    flags = ["--grouping=random_groups", "--num_groups=4", starter]
    _group(tmp_path, *flags)
    written = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    _group(tmp_path, *flags)  # the same content
    for name in ("groups.csv", "starter.csv"):
        written[tmp_path / name] = (tmp_path / name).read_bytes() + b"\n"
        (tmp_path / name).write_bytes(written[tmp_path / name])
    with pytest.raises(SystemExit) as ended:
        _group(tmp_path, *flags)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    for name in ("groups.csv", "starter.csv"):
        assert f"{tmp_path}/{name} exists with other content, perhaps edited" in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == written


def test_comparison_shows_all_methods(predictions, matrix, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    flags = ["--compare", "--grouping=confusion", "--num_groups=10"]
    folder = matrix.parent
    flags += [f"--confusion={folder}/confusion_a.npz"]
    flags += [f"--confusion_heldout={folder}/confusion_b.npz"]
    group.main([*flags, *(f"--predictions={path}" for path in predictions)])
    out, err = capsys.readouterr()
    table = {line.split()[0]: line for line in out.splitlines() if line}
    for method in grouping.METHODS:
        is_free = grouping.find_num_groups_source(method) == "flag"
        assert (method in table) == is_free
    assert "100.0 %" in table["confusion"]  # each class is confused with one other
    assert "manual: left out, it needs --groups FILE" in err
    assert re.search(r"grouping: +\d+%.*\d+/\d+ .*sweep", err)  # confusion is slow
    warning = "warning: the groups are made from the confusion of good, ranked here"
    assert "3 models are few: with less than 6 a rank correlation is unreliab" in out
    warned = [line.split(":")[0] for line in out.splitlines() if warning in line]
    assert sorted(warned) == ["confusion", "curated"]


def test_groups_remember_the_models_that_made_them(matrix, tmp_path, capsys):
    flags = ["--grouping=curated", "--num_groups=10", f"--confusion={matrix}"]
    _, figures = _group(tmp_path / "first", *flags)
    note = "categories are merged by the confusion of good, not by WordNet"
    assert note in capsys.readouterr().err
    assert note in (tmp_path / "first/groups.html").read_text()
    assert figures["quality"]["confusion_models"] == ["good"]
    copied = tmp_path / "first/groups.csv"
    _, figures = _group(tmp_path / "second", "--grouping=manual", f"--groups={copied}")
    assert figures["quality"]["confusion_models"] == ["good"]


def test_a_matrix_of_classes_in_another_order_is_warned_of(
    predictions, tmp_path, capsys
):
    with np.load(predictions[0]) as file:
        np.savez(tmp_path / "reversed.npz", top5=999 - file["top5"])
    confusion.main([
        f"--predictions={tmp_path}/reversed.npz", f"--output={tmp_path}/c",
    ])  # fmt: skip
    flags = ["--grouping=random_groups", "--num_groups=9"]
    matrix = f"--confusion={tmp_path}/c/confusion.npz"
    _, figures = _group(tmp_path / "g", *flags, matrix)
    warning = "warning: reversed is no better than chance: its likeliest class is corr"
    assert warning in capsys.readouterr().err.splitlines()[-1]
    assert figures["notes"][-1].startswith(warning)


@pytest.mark.parametrize("name", class_lists.NAMES)
def test_class_lists_are_presets(tmp_path, name):
    rows, figures = _group(tmp_path, f"--preset={name}")
    grouped = sorted(row["wnid"] for row in rows if row["group"])
    assert tuple(grouped) == class_lists.load(name)
    assert figures["sizes"]["largest"] == 1


# Source: Santurkar et al. 2021, table 1.
@pytest.mark.parametrize(
    ("name", "num_groups", "num_classes"),
    [
        ("breeds_entity13", 13, 20),
        ("breeds_entity30", 30, 8),
        ("breeds_living17", 17, 4),
        ("breeds_nonliving26", 26, 4),
    ],
)
def test_breeds_has_superclasses_of_equal_size(tmp_path, name, num_groups, num_classes):
    rows, figures = _group(tmp_path, f"--preset={name}")
    sizes = Counter(row["group_name"] for row in rows if row["group"])
    assert list(sizes.values()) == [num_classes] * num_groups
    assert figures["grouping"] == name
    assert rows == _group(tmp_path, f"--grouping={name}")[0]


@pytest.mark.parametrize(("alias", "name"), class_lists.list_aliases().items())
def test_an_alias_is_its_preset(alias, name):
    options = GroupOptions(preset=alias).expand_preset()
    assert options == GroupOptions(preset=name).expand_preset()


def test_presets_of_the_source_fix_the_number_of_groups(tmp_path):
    _, figures = _group(tmp_path, "--preset=n20_m2500")
    assert (figures["grouping"], figures["sizes"]["num_groups"]) == ("wordnet", 20)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "--output: is required"),
        (["--output=x"], "--grouping: is required"),
        (
            ["--output=x", "--grouping=confusion", "--num_groups=9"],
            "--confusion: is requi",
        ),
        (["--output=x", "--grouping=manual"], "--groups: is required"),
        (["--compare", "--num_groups=9"], "--compare: needs one or more --predictions"),
        (["--output=x", "--preset=n20_m2500", "--num_groups=9"], "sets 20"),
        (["--output=x", "--preset=imagenette", "--grouping=wordnet"], "sets all_cl"),
        (["--output=x", "--preset=imagenet100"], "did you mean imagenet100"),
        (["--output=x", "--grouping=wordnet", "--runner=x"], "--runner: unknown flag"),
        (
            ["--output=x", "--grouping=all_classes", "--index=no.parquet"],
            "no such file",
        ),
        (["--output=x", "--grouping=wordnet"], "--num_groups"),
    ],
)
def test_problems_are_named(tmp_path, monkeypatch, capsys, flags, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        group.main(flags)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
