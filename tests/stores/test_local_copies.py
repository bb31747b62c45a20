"""Test that other processes do not remove local copies of objects."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import making_models
from tests.stores.copying import upload
from transforms import storage
from transforms.models import loaders
from transforms.storage import local, staging


def test_copies_in_use_are_no_left_overs(google, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(b"weights")
    upload(tmp_path / "in", f"{google}/models")
    with (
        staging.stage_folder(f"{google}/models") as folder,
    ):
        file = staging.share_copy(f"{google}/models/model.onnx", "0123abcd4567")
        local.remove_stale_files()  # as another process does when it begins to write
        with local.folder(None, "copy-"):
            pass
        assert Path(file).read_bytes() == b"weights"
        assert Path(folder, "model.onnx").read_bytes() == b"weights"
    assert not Path(folder).exists()


def test_all_weights_of_an_onnx_model_are_copied(google, tmp_path):
    path = making_models.write_onnx(tmp_path / "models/m.onnx", 3)
    model = onnx.load(path)
    kernel, bias, _ = model.graph.initializer
    for tensor, file in ((kernel, "m.onnx.data"), (bias, "w/b.bin")):
        onnx.external_data_helper.set_external_data(tensor, file)
        storage.write(str(path.parent), file, tensor.raw_data)
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    url = upload(path.parent, f"{google}/models") + "/m.onnx"
    model_id = loaders.find_model_id(url)
    assert model_id == loaders.find_model_id(str(path))
    copy = loaders.stage(url, model_id)
    shape = (2, making_models.SIDE_PX, making_models.SIDE_PX, 3)
    batch = np.ones(shape, np.float32)
    outputs = loaders.load(copy, shape, 3).predict(batch)
    np.testing.assert_allclose(outputs, making_models.expect(batch, 3), atol=1e-6)


_COPY = (
    "import sys; from transforms.storage import staging\n"
    "print(staging.share_copy(sys.argv[1], sys.argv[2]), flush=True)\n"
    "sys.stdin.read()"
)


def test_processes_share_a_copy_that_goes_with_the_last(google, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    storage.write(f"{google}/models", "m.onnx", b"weights")
    words = [sys.executable, "-c", _COPY, f"{google}/models/m.onnx", "0123abcd4567"]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) for _ in "ab"]
    files = {Path(process.stdout.readline().strip()) for process in both}
    (file,) = files
    assert file.read_bytes() == b"weights"
    first, second = both
    first.communicate("")
    assert file.exists()
    assert list(tmp_path.iterdir()) == [file.parents[1]]
    second.kill()
    second.communicate()
    assert file.exists()
    words[-1] = "9876abcd4567"  # the next process removes what a killed one left
    third = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    assert third.stdout.readline()
    assert not file.exists()
    third.communicate("")
    assert not list(tmp_path.iterdir())


def test_a_copy_of_a_missing_object_fails_at_once(google, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            staging.share_copy(f"{google}/models/gone.onnx", "4567abcd0123")
