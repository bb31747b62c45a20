"""Test that other processes do not remove local copies of objects."""

from pathlib import Path

from tests.stores.copying import upload
from transforms.storage import local, staging


def test_copies_in_use_are_no_left_overs(google, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(b"weights")
    upload(tmp_path / "in", f"{google}/models")
    with (
        staging.stage_file(f"{google}/models/model.onnx") as file,
        staging.stage_folder(f"{google}/models") as folder,
    ):
        local.remove_stale_files()  # as another process does when it begins to write
        with local.folder(None, "copy-"):
            pass
        assert Path(file).read_bytes() == b"weights"
        assert Path(folder, "model.onnx").read_bytes() == b"weights"
    assert not Path(file).parent.exists()
    assert not Path(folder).exists()
