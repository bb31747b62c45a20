"""Test failures of the main job: clear errors, and no dataset that looks finished."""

import csv
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import build, index
from tests import building, making
from transforms.dataset import manifest
from transforms.layouts.official_archives import TRAIN
from transforms.records import UsageError

VICTIM = "n02088364_1"


@pytest.fixture
def folders(class_folders, tmp_path):
    """A copy that a test may damage."""
    copy = tmp_path / "imagenet"
    shutil.copytree(class_folders, copy)
    return copy


def _victims(dataset):
    return [row for row in building.manifest(dataset) if row["split"] == "train"]


def _fail(capfd, code, imagenet, output, **flags):
    """Run a build that ends with this exit code; return its stderr."""
    with pytest.raises(SystemExit) as ended:
        building.run(imagenet, output, **flags)
    out, err = capfd.readouterr()
    assert ended.value.code == code
    assert out == ""
    assert "Traceback" not in err
    assert not list(output.glob("**/complete.json"))
    return "\n".join(line for line in err.splitlines() if line.startswith("error: "))


def _path(folders, row):
    return folders / row["source"]


def test_corrupt_image_fails_the_job_by_default(folders, tmp_path, capfd):
    dataset = building.run(folders, tmp_path / "whole")
    row = _victims(dataset)[3]
    _path(folders, row).write_bytes(_path(folders, row).read_bytes()[:300])
    capfd.readouterr()
    err = _fail(capfd, 1, folders, tmp_path / "out")
    assert "1 of 90 chosen images failed, more than --max_failure_fraction 0" in err
    assert f"{row['key']} ({row['source']} at byte 0): truncated image" in err
    assert "run again with --resume" in err


def test_corrupt_image_becomes_a_failure(folders, tmp_path, capfd):
    whole = building.run(folders, tmp_path / "whole")
    row = _victims(whole)[3]
    _path(folders, row).write_bytes(b"this is no image".ljust(row["source_length"]))
    assert "warning: unreadable" not in capfd.readouterr().err
    dataset = building.run(folders, tmp_path / "out", max_failure_fraction=0.02)
    warning = "warning: unreadable images make the groups uneven: 19 to 20 train images"
    assert warning in capfd.readouterr().err
    with (dataset / "__meta__/failures.csv").open() as file:
        (failure,) = csv.DictReader(file)
    assert failure == {
        "key": row["key"],
        "split": "train",
        "label": str(row["label"]),
        "wnid": row["wnid"],
        "place": f"{row['source']} at byte 0",
        "reason": "not an image",
    }
    kept = [r["key"] for r in building.manifest(whole) if r["key"] != row["key"]]
    assert [r["key"] for r in building.manifest(dataset)] == kept
    totals = building.read_json(dataset, "__meta__/statistics.json")["totals"]
    assert (totals["chosen"], totals["failed"], totals["written"]) == (90, 1, 89)
    splits = building.read_json(dataset, "_info.json")["splits"]
    assert splits["train"]["shard_lengths"] == [19, 20, 20]


def test_failed_job_is_resumed_to_the_same_bytes(folders, tmp_path, capfd):
    whole = building.run(folders, tmp_path / "whole")
    row = _victims(whole)[3]
    data = _path(folders, row).read_bytes()
    _path(folders, row).write_bytes(b"\xff\xd8" + bytes(len(data) - 2))
    capfd.readouterr()
    _fail(capfd, 1, folders, tmp_path / "out")
    _path(folders, row).write_bytes(data)
    err = _fail(capfd, 2, folders, tmp_path / "out")
    assert "is unfinished; use --resume to continue, or remove it" in err
    resumed = building.run(folders, tmp_path / "out", resume=True)
    assert building.checksums(resumed) == building.checksums(whole)


def test_resume_writes_damaged_shards_again_and_keeps_whole_ones(
    folders, tmp_path, capfd
):
    whole = building.run(folders, tmp_path / "whole")
    rows = _victims(whole)
    lost = _path(folders, rows[-1])
    data = lost.read_bytes()
    lost.write_bytes(b"x" * len(data))
    capfd.readouterr()
    _fail(capfd, 1, folders, tmp_path / "out")
    lost.write_bytes(data)
    first, second, _ = sorted((tmp_path / "out").glob("small/.1.0.0.partial/train/*"))
    kept = first.stat().st_ino
    second.write_bytes(second.read_bytes().replace(b"JFIF", b"jfif", 1))
    capfd.readouterr()
    resumed = building.run(folders, tmp_path / "out", resume=True)
    line = "--resume: keeps 4 of 5 shards, with 70 of 90 images, if their checksums"
    assert line in capfd.readouterr().err
    assert (resumed / "train" / first.name).stat().st_ino == kept
    assert building.checksums(resumed) == building.checksums(whole)


def test_resume_does_not_count_shards_of_another_size(folders, tmp_path, capfd):
    whole = building.run(folders, tmp_path / "whole")
    _path(folders, _victims(whole)[-1]).write_bytes(b"x")
    capfd.readouterr()
    _fail(capfd, 1, folders, tmp_path / "out")
    for path in (tmp_path / "out").glob("small/.1.0.0.partial/*/*.tar"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SystemExit):
        building.run(folders, tmp_path / "out", resume=True)
    err = capfd.readouterr().err
    assert "--resume: no shard is complete; all 5 will be written" in err


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda data: bytes(len(data))],
    ids=["truncated", "zeros"],
)
def test_shard_that_changes_during_the_commit_is_an_error(
    mini_imagenet, tmp_path, capfd, monkeypatch, damage
):
    merge = manifest.merge_parts

    def merge_and_damage(work, shards, output):
        merge(work, shards, output)
        shard = next(Path(work, "train").iterdir())
        shard.write_bytes(damage(shard.read_bytes()))

    monkeypatch.setattr(manifest, "merge_parts", merge_and_damage)
    err = _fail(capfd, 1, mini_imagenet, tmp_path)
    assert "a shard changed while it was committed" in err
    assert "run again with --resume" in err


@pytest.mark.parametrize("resume", [None, True], ids=["again", "resumed"])
def test_finished_dataset_is_unchanged(mini_imagenet, tmp_path, resume, capfd):
    dataset = building.run(mini_imagenet, tmp_path)
    before = (dataset / "__meta__/complete.json").stat().st_mtime_ns
    again = building.run(mini_imagenet, tmp_path, resume=resume)
    assert (again / "__meta__/complete.json").stat().st_mtime_ns == before
    assert capfd.readouterr().out == f"{dataset}\n" * 2


def test_another_dataset_in_the_way_is_an_error(mini_imagenet, tmp_path, capfd):
    dataset = building.run(mini_imagenet, tmp_path)
    before = building.checksums(dataset)
    with pytest.raises(SystemExit):
        building.run(mini_imagenet, tmp_path, seed=1)
    assert (
        f"{dataset} contains another dataset; use another --name"
        in capfd.readouterr().err
    )
    assert building.checksums(dataset) == before


def test_something_else_in_the_way_is_an_error(mini_imagenet, tmp_path, capfd):
    making.write_files(tmp_path / "small/1.0.0", {"thesis.txt": b"mine"})
    err = _fail(capfd, 2, mini_imagenet, tmp_path)
    assert "exists and is not a finished dataset" in err
    assert (tmp_path / "small/1.0.0/thesis.txt").read_bytes() == b"mine"


def test_unfinished_other_plan_in_the_way_is_an_error(folders, tmp_path, capfd):
    (folders / f"train/n02088364/{VICTIM}.JPEG").write_bytes(b"x")
    flags = {"grouping": "all_classes", "num_groups": None, "images_per_group": None}
    _fail(capfd, 1, folders, tmp_path / "out", **flags, min_validation_images=0)
    err = _fail(capfd, 2, folders, tmp_path / "out", resume=True)
    assert "is an unfinished dataset of another plan" in err


def test_all_flag_problems_are_reported_at_once(mini_imagenet, tmp_path, capfd):
    err = _fail(
        capfd,
        2,
        mini_imagenet,
        tmp_path,
        grouping="random_grups",
        num_groups="many",
        images_per_group=0,
        formats="webdataset,zip",
        name="cifar10",
        dataset_version="1.0",
        max_failure_fraction=2,
        jpeg_quality=0,
        imge_size=64,
        direct_running_mode="multi_threading",
    )
    for expected in (
        "--grouping random_grups: is not one of",
        "did you mean random_groups?",
        "--num_groups many: is not a whole number",
        "--images_per_group 0: must be at least 1",
        "--formats zip: is not one of",
        "--name cifar10: ",
        "--dataset_version 1.0: must be x.y.z, e.g. 1.0.0",
        "--max_failure_fraction 2: must be between 0 and 1",
        "--jpeg_quality 0: ",
        "--imge_size: unknown flag; did you mean --image_size?",
        "--direct_running_mode multi_threading: loses images",
    ):
        assert expected in err
    assert not tmp_path.joinpath("small").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"images_per_group": None}, "--images_per_group: is required"),
        ({"num_groups": None}, "--num_groups: is required"),
        ({"grouping": None}, "--grouping: is required (one of all_classes, "),
        ({"input": None}, "--input: is required"),
        ({"grouping": "manual"}, "--groups: is required"),
        ({"groups": "a.csv"}, "--groups a.csv: applies only with --grouping=manual"),
        (
            {"manual_missing": "drop"},
            "--manual_missing: applies only with --grouping=manual",
        ),
        ({"folds": 3}, "--folds 3: must be between 1 and 2"),
        ({"upscale": "perhaps"}, "--upscale perhaps: must be true or false"),
    ],
)
def test_each_flag_rule_names_flag_value_and_remedy(
    mini_imagenet, tmp_path, capfd, flags, expected
):
    assert expected in _fail(capfd, 2, mini_imagenet, tmp_path, **flags)


def test_too_large_m_names_the_largest_that_works(mini_imagenet, tmp_path, capfd):
    output = tmp_path / "new" / "subsets"
    err = _fail(
        capfd, 2, mini_imagenet, output, images_per_group=41, min_validation_images=36
    )
    assert not output.parent.exists()
    assert "--images_per_group 41: too many for 3 of 3 groups" in err
    assert (
        "the largest that works is 38; training images are held out to reach "
        "--min_validation_images: with 0 there, or --allow_small_validation, it is 40"
    ) in err
    assert "40 training images, 2 of them held out for validation: at most 38" in err
    assert building.run(
        mini_imagenet, tmp_path, images_per_group=38, min_validation_images=36
    )


def test_too_few_validation_images_name_the_remedy(mini_imagenet, tmp_path, capfd):
    flags = {"min_validation_images": 1000}
    err = _fail(capfd, 2, mini_imagenet, tmp_path, **flags)
    assert "--min_validation_images 1000: these groups have only 150" in err
    dataset = building.run(
        mini_imagenet, tmp_path, **flags, allow_small_validation=True
    )
    rows = building.manifest(dataset)
    assert sum(row["split"] == "train" for row in rows) == 60
    assert sum(row["split"] == "validation" for row in rows) == 90


def test_lack_of_space_is_reported_before_reading(
    mini_imagenet, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("transforms.storage.free_bytes", lambda _: 1000)
    err = _fail(capfd, 2, mini_imagenet, tmp_path)
    assert f"--output {tmp_path}: needs about" in err
    assert "free some space, or use another folder" in err


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing", "no such file or folder"),
        ("empty", "no ImageNet found here; looked for nXXXXXXXX.tar; "),
        ("ftp://bucket/imagenet", "neither a local path nor gs://BUCKET/"),
        ("missing.parquet", "no such file"),
    ],
)
def test_input_without_imagenet_is_an_error(tmp_path, capfd, path, expected):
    (tmp_path / "empty").mkdir()
    where = path if "://" in path else tmp_path / path
    assert expected in _fail(capfd, 2, where, tmp_path / "out")


def test_every_bad_input_is_named(tmp_path, capfd):
    command = building.command_line(tmp_path / "a", tmp_path / "out")

    with pytest.raises(SystemExit):
        build.main([*command, f"--input={tmp_path / 'b'}"])
    err = capfd.readouterr().err
    assert f"--input {tmp_path / 'a'}: no such file" in err
    assert f"--input {tmp_path / 'b'}: no such file" in err


def test_file_other_than_an_index_is_an_error(tmp_path, capfd):
    path = tmp_path / "index.parquet"
    pq.write_table(pa.table({"mine": [1]}), path)
    err = _fail(capfd, 2, path, tmp_path / "out")
    assert f"{path}: is not an index; make one with python -m pipelines.index" in err


def test_truncated_archive_is_an_error(mini_imagenet, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    os.truncate(folder / TRAIN, 300_000)
    err = _fail(capfd, 2, folder, tmp_path / "out")
    assert "the archive is truncated" in err
    assert "copy or download it again" in err


def test_truncated_class_archive_inside_is_an_error(mini_imagenet, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    classes = making.read_tar(folder / TRAIN)
    name, data = next(iter(classes.items()))
    making.write_tar(folder / TRAIN, {**classes, name: data[: len(data) // 2]})
    assert "the archive is truncated" in _fail(capfd, 2, folder, tmp_path / "out")


def test_hostile_member_name_is_an_error(mini_imagenet, tmp_path, capfd):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    classes = making.read_tar(folder / TRAIN)
    hostile = making.tar_bytes({"../../n01440764_1.JPEG": b"x"})
    making.write_tar(folder / TRAIN, {**classes, "n01440764.tar": hostile})
    err = _fail(capfd, 2, folder, tmp_path / "out")
    assert "would leave the archive's folder" in err
    assert not (tmp_path / "n01440764_1.JPEG").exists()


def test_duplicate_keys_are_an_error(folders, tmp_path, capfd):
    source = folders / f"train/n02088364/{VICTIM}.JPEG"
    shutil.copy(source, folders / f"train/n02099601/{VICTIM}.JPEG")
    err = _fail(capfd, 2, folders, tmp_path / "out")
    assert f"1 image name is repeated in the input ({VICTIM})" in err
    assert "train/n02088364" in err
    assert "train/n02099601" in err


def test_renumbered_validation_without_labels_is_an_error(
    mini_imagenet, tmp_path, capfd
):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    (folder / "LOC_val_solution.csv").unlink()
    err = _fail(capfd, 2, folder, tmp_path / "out")
    assert "30 validation images without labels" in err
    assert "name it with --validation_labels" in err


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("n02088364", "n99999999"), "unknown wnid n99999999"),
        (lambda text: "\n".join(text.splitlines()[:-3]) + "\n", "no label for 3 of 30"),
        (lambda text: text.split("\n", 1)[1], "LOC_val_solution.csv:1: "),
    ],
    ids=["unknown wnid", "missing rows", "no header"],
)
def test_bad_validation_labels_are_an_error(
    mini_imagenet, tmp_path, capfd, change, expected
):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    path = folder / "LOC_val_solution.csv"
    path.write_text(change(path.read_text()))
    assert expected in _fail(capfd, 2, folder, tmp_path / "out")


def test_validation_labels_can_be_given_by_flag(mini_imagenet, tmp_path):
    folder = tmp_path / "imagenet"
    shutil.copytree(mini_imagenet, folder)
    labels = tmp_path / "labels.csv"
    (folder / "LOC_val_solution.csv").rename(labels)
    dataset = building.run(folder, tmp_path / "out", validation_labels=labels)
    assert len(building.manifest(dataset)) == 90


def test_bad_group_file_is_an_error_with_its_lines(mini_imagenet, tmp_path, capfd):
    path = tmp_path / "groups.csv"
    path.write_text("name,group\nbeagel,dogs\n")
    flags = {"grouping": "manual", "groups": path, "num_groups": None}
    err = _fail(capfd, 2, mini_imagenet, tmp_path / "out", **flags)
    assert "groups.csv:2: " in err
    assert "did you mean" in err


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("groups", None, ": must end in .csv, .tsv, .yaml or .yml"),
        ("groups.csv", None, ": is a directory"),
        ("groups.csv", b"class,super\n1,2\n", ":1: the header is 'class,super'; it"),
        ("groups.csv", b"\xe9", ": is not UTF-8"),
        ("groups.csv", b"wnid,group\n", ": holds no classes"),
        ("groups.yaml", b"- a", ":1: is not a mapping"),
    ],
)
def test_bad_group_files_are_reported_with_the_other_flags(
    tmp_path, name, content, problem
):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    flags = f"--input={tmp_path} --grouping=manual --groups={path} --jpeg_quality=0"
    with pytest.raises(UsageError) as caught:
        build.parse_request(flags.split())
    assert f"--groups {path}{problem}" in str(caught.value)
    assert "--jpeg_quality 0: must be" in str(caught.value)


def test_a_bad_confusion_matrix_is_reported_before_the_input_is_read(tmp_path):
    matrix = tmp_path / "confusion.npz"
    matrix.write_bytes(b"")
    flags = f"--input={tmp_path} --output={tmp_path}/out --grouping=confusion "
    flags += f"--confusion={matrix} --num_groups=2 --images_per_group=1"
    with pytest.raises(UsageError, match=f"^--confusion {matrix}: "):
        build.build(build.parse_request(flags.split()))


def test_missing_image_is_a_failure(folders, tmp_path, capfd):

    path = tmp_path / "index.parquet"
    index.main([f"--input={folders}", f"--output={path}"])
    whole = building.run(path, tmp_path / "whole")
    _path(folders, _victims(whole)[0]).unlink()
    capfd.readouterr()
    err = _fail(capfd, 1, path, tmp_path / "out")
    assert "the file is gone" in err


def test_known_bad_images_are_left_out(folders, tmp_path, capfd):

    (folders / f"train/n02088364/{VICTIM}.JPEG").write_bytes(b"")
    (folders / "train/n02088364/n02088364_2.JPEG").write_bytes(b"GIF89a")
    path = tmp_path / "index.parquet"
    index.main([f"--input={folders}", f"--output={path}", "--inspect"])
    assert "2 unusable images left out" in capfd.readouterr().err
    dataset = building.run(
        path,
        tmp_path / "out",
        grouping="all_classes",
        num_groups=None,
        images_per_group=18,
    )
    statistics = building.read_json(dataset, "__meta__/statistics.json")
    assert statistics["totals"]["unusable"] == 2
    assert statistics["totals"]["failed"] == 0
    assert VICTIM not in {row["key"] for row in building.manifest(dataset)}


def test_full_disk_is_reported_and_the_build_can_be_resumed(mini_imagenet, tmp_path):
    """The kernel limits files to 40 kB."""
    flags = {"images_per_shard": 60}
    whole = building.run(mini_imagenet, tmp_path / "whole", **flags)
    command = building.command_line(mini_imagenet, tmp_path / "out", **flags)
    finished = subprocess.run(
        [sys.executable, "-m", "pipelines.build", *command],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, -1)),
        check=False,
    )
    assert finished.returncode == 1
    assert ".tar: cannot be written (File too large); make room" in finished.stderr
    assert "Traceback" not in finished.stderr
    resumed = building.run(mini_imagenet, tmp_path / "out", **flags, resume=True)
    assert building.checksums(resumed) == building.checksums(whole)


def test_output_that_cannot_be_written_is_an_error(mini_imagenet, capfd):
    with tempfile.TemporaryDirectory() as folder:
        blocked = Path(folder, "file")
        blocked.write_bytes(b"")
        with pytest.raises(SystemExit) as ended:
            building.run(mini_imagenet, blocked / "out")
    assert ended.value.code == 2
    assert "is not writable (Not a directory)" in capfd.readouterr().err


@pytest.mark.parametrize("folder", ["", "small", "small/.1.0.0.partial"])
def test_output_that_is_read_only_is_an_error(mini_imagenet, tmp_path, folder):
    place = tmp_path / "out" / folder
    place.mkdir(parents=True)
    place.chmod(0o555)
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pipelines.build"),
            *building.command_line(mini_imagenet, tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=_obey_permissions,
        check=False,
    )
    assert finished.returncode == 2
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("error: --output")
    assert f"{place}: is not writable (Permission denied)" in last
    assert "Traceback" not in finished.stderr
    assert not list(place.iterdir())


def _obey_permissions():
    """Drop root's capability to ignore file permissions."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_errors_of_worker_processes_are_translated(folders, tmp_path, capfd):
    (folders / f"train/n02088364/{VICTIM}.JPEG").write_bytes(b"x")
    with pytest.raises(SystemExit) as ended:
        building.run(
            folders,
            tmp_path / "out",
            grouping="all_classes",
            num_groups=None,
            images_per_group=None,
            min_validation_images=0,
            direct_running_mode="multi_processing",
            direct_num_workers=2,
        )
    assert ended.value.code == 1
    err = capfd.readouterr().err  # Beam's workers print tracebacks of their own
    assert "error: 1 of 150 chosen images failed" in err
    assert "run again with --resume" in err.splitlines()[-1]
