"""Test engines whose workers share only a bucket with the launcher.

Beam's job server represents them: it accepts the job, and the launcher continues.
"""

import time

import pytest

from pipelines import build, index
from tests import building
from tests.stores.copying import checksums, upload
from transforms import storage
from transforms.dataset import paths

ENGINE = {
    "runner": "PortableRunner",
    "job_endpoint": "embed",
    "environment_type": "LOOPBACK",
}
_PATIENCE_S = 120.0


@pytest.fixture
def source(google, mini_imagenet):
    return upload(mini_imagenet, f"{google}/imagenet")


def test_nothing_is_left_to_do_when_nobody_waits(
    google, source, mini_imagenet, tmp_path, capfd
):
    """The workers write the commit mark, and the same bytes as on one machine."""
    change = {**ENGINE, "no_wait_until_finish": True}
    target = f"{google}/out/small/1.0.0"
    build.main(building.command_line(source, f"{google}/out", **change))
    out, err = capfd.readouterr()
    assert out == f"{target}\n"
    assert "submitted to PortableRunner" in err
    assert err.endswith(f"complete when {target}/{paths.COMPLETE} exists\n")
    end = time.monotonic() + _PATIENCE_S
    work = f"{google}/out/small/.1.0.0.partial"
    while not storage.exists(f"{target}/{paths.COMPLETE}") or storage.exists(work):
        assert time.monotonic() < end
        time.sleep(0.2)
    local = building.run(mini_imagenet, tmp_path)
    assert checksums(target) == building.checksums(local)


def test_parts_of_an_index_lie_beside_it_and_go(google, source, capfd, monkeypatch):
    seen = []
    remove = storage.remove_folder

    def note(path):
        seen.append((path, len(list(storage.list_files(path)))))
        remove(path)

    monkeypatch.setattr(storage, "remove_folder", note)
    flags = [f"--{name}={value}" for name, value in ENGINE.items()]
    index.main([f"--input={source}", f"--output={google}/tables/i.parquet", *flags])
    assert capfd.readouterr().out == f"{google}/tables/i.parquet\n"
    ((folder, num_parts),) = seen
    assert folder.startswith(f"{google}/tables/.")
    assert num_parts
    assert list(storage.list_files(f"{google}/tables")) == ["i.parquet"]
