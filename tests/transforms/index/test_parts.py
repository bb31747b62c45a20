"""Test the listing of the parts of an input."""

import pathlib
import tarfile

import pytest

from pipelines import inputs
from transforms.index import parts
from transforms.records import UsageError


def _write_tar(path, *, is_cut):
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(f"{path.stem}_1.JPEG")
        member.size = 4096
        with pathlib.Path("/dev/zero").open("rb") as zeros:
            tar.addfile(member, zeros)
    if is_cut:
        path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_truncated_archive_is_named(tmp_path, monkeypatch, num_processes):
    monkeypatch.setattr(parts, "_LEAST_IN_PROCESSES", 0)
    folder = tmp_path / "train"
    folder.mkdir()
    for number in range(5):
        _write_tar(folder / f"n0144076{number}.tar", is_cut=number in {0, 2, 4})
    recognised = inputs.recognise([str(tmp_path)], None)
    output = tmp_path / "index.parquet"
    with pytest.raises(UsageError) as raised:
        parts.write_index(recognised.parts, str(output), num_processes=num_processes)
    lines = str(raised.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        str(folder / f"n0144076{number}.tar") for number in (0, 2, 4)
    ]
    assert all("the archive is truncated" in line for line in lines)
    assert not output.exists()
