import zipfile

import pytest

from transforms.archives import zips
from transforms.records import UsageError


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP"])
def test_small_member_is_read_by_its_path(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.JPEG", b"one" * 100)
        archive.writestr("b.JPEG", b"two" * 100)
    inside = f"{tmp_path}/{name}/b.JPEG"
    assert zips.is_inside(inside)
    assert zips.read(inside) == b"two" * 100
    with pytest.raises(UsageError, match="no such member"):
        zips.read(f"{tmp_path}/{name}/c.JPEG")


def test_folder_that_is_called_zip_is_a_folder(tmp_path):
    (tmp_path / "a.zip").mkdir()
    path = tmp_path / "a.zip" / "labels.csv"
    path.write_bytes(b"x")
    assert not zips.is_inside(str(path))
