"""Test inputs on the Hugging Face Hub with a server that speaks its endpoints."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from pipelines import build, index
from tests import building, making_layouts
from tests.stores import hub_server
from tests.stores.hub_server import REPO, TOKEN, HubServer
from transforms import storage
from transforms.records import DataError, UsageError

ROOT = f"hf://datasets/{REPO}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Start a server of one dataset, which the library uses without a token."""
    with hub_server.run(HubServer()) as server:
        for name, value in {
            "ENDPOINT": server.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.address
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_ENDPOINT", server.address)  # of worker processes
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        storage.forget_open_files()
        yield server
        storage.forget_open_files()


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.parquet")
    }


def test_dataset_equals_the_one_of_local_files(hub, huggingface_parquet, tmp_path):
    commit = hub.commit(read_files(huggingface_parquet))
    remote = building.run(ROOT, tmp_path / "remote")
    local = building.run(huggingface_parquet, tmp_path / "local")
    shards = [p.relative_to(local) for p in local.glob("*/*.tar")]
    assert len(shards) > 2
    for path in shards:
        assert (remote / path).read_bytes() == (local / path).read_bytes()
    recipe = building.read_json(remote, "__meta__/recipe.json")
    assert recipe["input_revisions"] == [f"{ROOT}@{commit}"]
    assert f"--input {ROOT}@{commit} " in recipe["command"]
    text = b"".join(p.read_bytes() for p in remote.rglob("*.json"))
    assert hub.address.encode() not in text


def test_later_commit_changes_nothing_of_an_index(
    hub, huggingface_parquet, tmp_path, capsys
):
    files = read_files(huggingface_parquet)
    hub.commit(files)
    place = str(tmp_path / "index.parquet")
    index.main([f"--input={ROOT}", f"--output={place}"])
    first = building.run(place, tmp_path / "first")
    name = min(path for path in files if "train" in path)
    newer = hub.commit(files | {name: files["data/validation-00000-of-00001.parquet"]})
    capsys.readouterr()
    second = building.run(place, tmp_path / "second")
    assert building.checksums(first) == building.checksums(second)
    said = capsys.readouterr().err
    assert f"is not the main branch, which is {newer} now" in said


def test_lost_commit_is_noticed(hub, huggingface_parquet, tmp_path, capsys):
    commit = hub.commit(read_files(huggingface_parquet))
    place = str(tmp_path / "index.parquet")
    index.main([f"--input={ROOT}", f"--output={place}"])
    del hub.commits[commit]
    hub.commit({"README.md": b""})
    with pytest.raises(SystemExit):
        building.run(place, tmp_path / "out")
    said = capsys.readouterr().err
    assert f"{ROOT}@{commit}" in said
    assert "rebuild the index with python -m pipelines.index" in said


def test_only_footers_and_chosen_row_groups_are_fetched(
    hub, class_folders, tmp_path, capsys
):
    noise = np.random.default_rng(3)
    images = [
        image._replace(data=image.data + noise.bytes(60_000))
        for image in making_layouts.read_class_folders(class_folders)
    ]
    folder = making_layouts.write_huggingface(tmp_path / "large", images)
    hub.commit(read_files(folder))
    flags = {"images_per_group": 3, "num_groups": 2, "min_validation_images": 4}
    root = building.run(ROOT, tmp_path / "out", **flags)
    chosen = {(row["source"], row["source_offset"]) for row in building.manifest(root)}
    read = [
        (path.partition("/data/")[2], *map(int, re.findall(r"\d+", asked)))
        for path, asked in hub.asked
        if "/cdn/" in path
    ]
    num_groups = 0
    for path in (folder / "data").glob("[tv][ra]*.parquet"):
        for number, group in enumerate(row_groups(path)):
            num_groups += 1
            start = group.dictionary_page_offset or group.data_page_offset
            end = start + group.total_compressed_size
            fetched = sum(
                max(0, min(last + 1, end) - max(first, start))
                for name, first, last in read
                if name == path.name
            )
            is_chosen = (f"data/{path.name}", number) in chosen
            assert (fetched >= end - start) == is_chosen
    assert 0 < len(chosen) < num_groups
    (said,) = re.findall(
        r"^fetched ([\d.]+) MB from the Hugging Face Hub in (\d+) requests$",
        capsys.readouterr().err,
        re.MULTILINE,
    )
    assert said == (f"{hub.num_bytes / 1e6:.1f}", str(len(read)))


def row_groups(path):
    footer = pq.read_metadata(path)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema == "image.bytes":
                yield column


@pytest.mark.parametrize("place", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "file"])
def test_token_is_found_in_the_usual_places(hub, monkeypatch, place):
    hub.is_gated = True
    hub.commit({"a.txt": b"0123456789"})
    if place == "file":
        Path(constants.HF_TOKEN_PATH).write_text(TOKEN)
    else:
        monkeypatch.setenv(place, TOKEN)
    assert storage.read(f"{ROOT}/a.txt") == b"0123456789"


@pytest.mark.parametrize("token", [None, "of_somebody_else"])
def test_gated_dataset_says_what_to_do(
    hub, huggingface_parquet, tmp_path, monkeypatch, capsys, token
):
    hub.is_gated = True
    hub.commit(read_files(huggingface_parquet))
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SystemExit) as ended:
        build.main(building.command_line(ROOT, tmp_path))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"accept its terms at {hub.address}/datasets/{REPO}" in said
    assert "set HF_TOKEN" in said


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("hf://datasets/ILSVRC/imagenet-2k", "no such dataset, or a private one"),
        (f"{ROOT}@v9", "no such dataset or revision"),
        (f"{ROOT}/dta", "no such file or folder"),
        ("hf://imagenet-1k", "must be hf://datasets/OWNER/NAME"),
        (f"{ROOT}/../x", "must be hf://datasets/OWNER/NAME"),
    ],
)
def test_wrong_path_is_reported(hub, tmp_path, capsys, path, problem):
    hub.commit({"README.md": b"a dataset"})
    with pytest.raises(SystemExit) as ended:
        index.main([f"--input={path}", f"--output={tmp_path}/i.parquet"])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_branch_and_folder_of_a_dataset_are_read(hub, huggingface_parquet):
    hub.commit({"README.md": b""})
    files = read_files(huggingface_parquet)
    commit = hub.commit(files, branch="refs/convert/parquet")
    path = f"{ROOT}@refs/convert/parquet/data"
    assert storage.pin(path) == f"{ROOT}@{commit}/data"
    assert storage.pin(f"{ROOT}@{commit}/data") == f"{ROOT}@{commit}/data"
    names = [entry.name for entry in storage.list_folder(path)]
    assert names == sorted(p.removeprefix("data/") for p in files)  # pages of three
    assert len(names) > hub.page
    assert storage.is_folder(path)
    assert not storage.is_folder(f"{path}/{names[0]}")
    assert storage.num_bytes(f"{path}/{names[0]}") == len(files[f"data/{names[0]}"])


def test_limited_requests_are_repeated(hub):
    hub.commit({"a.txt": b"0123456789"})
    hub.num_limited = 1
    assert storage.read_range(f"{ROOT}/a.txt", 2, 3) == b"234"


def test_range_beyond_the_end_and_another_version_are_errors(hub):
    hub.commit({"a.txt": b"0123456789"})
    path = f"{ROOT}/a.txt"
    with pytest.raises(DataError, match="ends 2 bytes too early"):
        storage.read_range(path, 8, 4)
    with pytest.raises(DataError, match="changed"):
        storage.read_range(path, 0, 4, version="other")
    with pytest.raises(DataError, match="gone"):
        storage.read_range(f"{ROOT}/b.txt", 0, 4)


def test_hub_is_not_written():
    with pytest.raises(UsageError, match="is only read"):
        storage.write(f"{ROOT}", "a.txt", b"")


def test_missing_library_is_reported(monkeypatch):
    load = importlib.import_module

    def fail(name):
        if name.startswith("huggingface_hub"):
            raise ModuleNotFoundError(name)
        return load(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UsageError, match=r"pip install 'imagenet-subsets\[hf\]'"):
        storage.is_folder(ROOT)
