"""Test naming the published subset that a folder, list or dataset is."""

import json

import pytest

from pipelines import group, identify
from tests import building, making
from transforms.labels import class_lists

ALL = (*class_lists.NAMES, *class_lists.GROUPED_NAMES)
IMAGENETTE = class_lists.load("imagenette")


def run(capsys, path):
    identify.main([str(path)])
    return capsys.readouterr().out.splitlines()


def refuse(capsys, path):
    with pytest.raises(SystemExit) as ended:
        identify.main([str(path)])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ALL)
def test_every_published_subset_is_recognised_by_its_folders(tmp_path, capsys, name):
    for wnid in class_lists.load(name):
        (tmp_path / wnid).mkdir()
    first, source, command = run(capsys, tmp_path)[:3]
    assert first.startswith(name)
    assert class_lists.load_subset(name).source in source
    assert command == f"  build it with --preset {name}"


def test_the_three_lists_named_imagenet_100_are_told_apart(tmp_path, capsys):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(class_lists.load("imagenet100_sololearn")))
    assert run(capsys, path)[0].startswith(
        "imagenet100_sololearn (also imagenet100_cmc): the same 100 classes"
    )


@pytest.mark.parametrize(
    "names",
    [
        [f"train/{wnid}/{wnid}_1.JPEG" for wnid in IMAGENETTE],
        [f"val/{wnid}/x.JPEG" for wnid in IMAGENETTE],
        [f"{wnid}.tar" for wnid in IMAGENETTE],
        [f"ILSVRC/Data/CLS-LOC/train/{wnid}/{wnid}_1.JPEG" for wnid in IMAGENETTE],
    ],
)
def test_folders_and_archives_are_recognised_by_their_names(tmp_path, capsys, names):
    making.write_files(tmp_path, dict.fromkeys(names, b"x"))
    assert run(capsys, tmp_path)[0].startswith("imagenette (also imagenette2): the")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(IMAGENETTE).upper(),
        "\ufeff" + "\r\n".join(f"{wnid} a name" for wnid in IMAGENETTE),
        json.dumps({n: [wnid, "name"] for n, wnid in enumerate(IMAGENETTE)}),
        "".join(f"{wnid}/{wnid}_{n}.JPEG\n" for wnid in IMAGENETTE for n in range(3)),
        "tench\nEnglish springer\ncassette player\nchain saw\nchurch\nFrench horn\n"
        "garbage truck\ngas pump\ngolf ball\nparachute\n",
    ],
)
def test_files_with_wnids_or_names_are_recognised(tmp_path, capsys, text):
    path = tmp_path / "classes.json"
    path.write_text(text)
    assert run(capsys, path)[0].startswith("imagenette")


def test_differences_are_named(tmp_path, capsys):
    for wnid in (*IMAGENETTE[1:], "n01443537", "n99999999"):
        (tmp_path / wnid).mkdir()
    lines = run(capsys, tmp_path)
    assert lines[0].startswith("11 classes, which are not those of a known subset")
    assert lines[1] == (
        "  imagenette (also imagenette2): has 9 of its 10 classes, and 2 others"
    )
    assert lines[4:] == [
        "differences from imagenette:",
        "  - n01440764 tench",
        "  + n01443537 goldfish",
        "  + n99999999 (not one of the 1000)",
    ]


def test_many_differences_are_counted(tmp_path, capsys):
    path = tmp_path / "classes.txt"
    others = [f"n9{number:07d}" for number in range(30)]
    path.write_text("\n".join([IMAGENETTE[0], *others]))
    lines = run(capsys, path)
    assert len(lines) < 30
    assert lines[-1] == "  + 20 more"


def test_groups_are_recognised(tmp_path, capsys):
    group.main(["--preset=breeds_living17", f"--output={tmp_path}"])
    capsys.readouterr()
    for path in (tmp_path, tmp_path / "groups.csv"):
        lines = run(capsys, path)
        assert lines[0].startswith("breeds_living17: the same 68 classes")
        assert "groups of its own" not in "".join(lines)
    text = (tmp_path / "groups.csv").read_text()
    other = tmp_path / "other.csv"
    other.write_text(text.replace(",3,", ",2,"))
    assert "in 16 groups of its own, not the 17 of breeds_living17" in (
        "".join(run(capsys, other))
    )


def test_a_built_dataset_and_an_index_are_read(halves, mini_index, capsys):
    num_classes = len(building.read_json(halves, "classes.json"))
    for path in (halves, mini_index):
        assert run(capsys, path)[0].startswith(f"{num_classes} classes, which are not")


def test_anything_else_is_refused(tmp_path, capsys):
    assert "no such file or folder" in refuse(capsys, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    error = refuse(capsys, tmp_path / "empty")
    assert error.startswith(f"error: {tmp_path / 'empty'}: no ImageNet found here")
    path = tmp_path / "file"
    for data, expected in {
        b"": "contains neither wnids nor a class name per line",
        b"three words here\n": "contains neither wnids nor",
        b"\xff\xfe\x00": "is UTF-16",
        b"\x89PNG\r\n\x1a\n": "is not UTF-8",
        b"wnid,group\n": "contains no classes",
    }.items():
        path.write_bytes(data)
        assert expected in refuse(capsys, path)
