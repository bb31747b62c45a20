"""Model files of all kinds: what they say, and what is refused."""

import sys
import zipfile

import numpy as np
import onnx
import pytest

from tests import making_models
from transforms.models import loaders
from transforms.models.loaders.loaded_model import ModelError, check_input, check_output

GIVEN = (4, making_models.SIDE_PX, making_models.SIDE_PX, 3)
NUM_CLASSES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    making_models.write_keras(folder / "tiny.keras", NUM_CLASSES)
    making_models.write_onnx(folder / "tiny.onnx", NUM_CLASSES)
    making_models.write_saved_model(folder / "tiny", NUM_CLASSES)
    making_models.write_lambda_keras(folder / "lambda.keras", NUM_CLASSES)
    return folder


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    return rng.normal(size=GIVEN).astype(np.float32)


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.onnx", "tiny"])
def test_all_kinds_say_the_same(folder, batch, name):
    path = str(folder / name)
    loaders.check_kind(path)
    outputs = loaders.load(path, GIVEN, NUM_CLASSES).ask(batch)
    expected = making_models.expect(batch, NUM_CLASSES)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.onnx", "tiny"])
def test_other_pictures_and_other_classes_are_refused(folder, name):
    with pytest.raises(ModelError, match="takes images of 16×16×3, and its card prep"):
        loaders.load(str(folder / name), (4, 32, 32, 3), NUM_CLASSES)
    with pytest.raises(ModelError, match="has 6 outputs, and its card lists 7 classes"):
        loaders.load(str(folder / name), GIVEN, NUM_CLASSES + 1)


def test_fixed_batch_size_is_named(tmp_path):
    path = making_models.write_onnx(tmp_path / "one.onnx", NUM_CLASSES, batch=1)
    with pytest.raises(ModelError, match="batches of 1 images only; give --batch_size"):
        loaders.load(str(path), GIVEN, NUM_CLASSES)
    loaders.load(str(path), (1, *GIVEN[1:]), NUM_CLASSES)


def test_code_in_a_keras_file_is_never_run(folder):
    with pytest.raises(ModelError, match=r"holds code of its own \(a Lambda layer\)"):
        loaders.load(str(folder / "lambda.keras"), GIVEN, NUM_CLASSES)


@pytest.mark.parametrize(
    ("operation", "before"),
    [
        ("WriteFile", lambda tf: tf.io.write_file("/nowhere/x", "x")),
        ("ReadFile", lambda tf: tf.io.read_file("/etc/hostname")),
        ("EagerPyFunc", lambda tf: tf.py_function(print, ["x"], [])),
        ("PyFunc", lambda tf: tf.numpy_function(lambda x: x, [1.0], tf.float32)),
    ],
    ids=["write", "read", "python", "numpy"],
)
def test_graph_that_does_more_than_compute_is_refused(tmp_path, operation, before):
    path = making_models.write_saved_model(tmp_path / "m", NUM_CLASSES, before=before)
    with pytest.raises(ModelError, match=rf"more than compute \({operation}"):
        loaders.load(str(path), GIVEN, NUM_CLASSES)


def test_integer_inputs_are_refused(tmp_path):
    path = making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for tensor in model.graph.initializer[:2]:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, path)
    with pytest.raises(ModelError, match="takes double; only models that take float32"):
        loaders.load(str(path), GIVEN, NUM_CLASSES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.h5", "HDF5 files can hold code"),
        ("m.pkl", "pickles run whatever"),
        ("m.pt", "pickles run whatever"),
        ("saved_model.pb", "name the folder"),
        ("m.txt", "is no model that is read; give .keras, .onnx"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=expected):
        loaders.check_kind(str(tmp_path / name))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        loaders.check_kind(str(tmp_path / "m.keras"))
    with pytest.raises(ModelError, match=r"without saved_model\.pb"):
        loaders.check_kind(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.keras", "is no .keras file"), ("m.onnx", "cannot be loaded")],
)
def test_rotten_files_are_refused(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"rotten" * 100)
    with pytest.raises(ModelError, match=expected):
        loaders.load(str(tmp_path / name), GIVEN, NUM_CLASSES)


def test_rotten_graph_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"rotten" * 100)
    with pytest.raises(ModelError, match=r"saved_model\.pb is no graph"):
        loaders.load(str(tmp_path), GIVEN, NUM_CLASSES)


def test_keras_file_without_weights_is_refused(folder, tmp_path):
    with (
        zipfile.ZipFile(folder / "tiny.keras") as whole,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as part,
    ):
        part.writestr("config.json", whole.read("config.json"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        loaders.load(str(tmp_path / "m.keras"), GIVEN, NUM_CLASSES)


def test_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (1 << 26) + b"{}")
    with pytest.raises(ModelError, match="would unpack to more"):
        loaders.load(str(tmp_path / "m.keras"), GIVEN, NUM_CLASSES)


def test_missing_onnx_runtime_is_said_with_the_remedy(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'imagenet-subsets\[onnx\]'"):
        loaders.load(str(folder / "tiny.onnx"), GIVEN, NUM_CLASSES)


def test_id_tells_models_apart_and_places_not(folder, tmp_path):
    here = loaders.find_model_id(str(folder / "tiny"))
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (folder / "tiny").rglob("*"):
        target = moved / path.relative_to(folder / "tiny")
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert loaders.find_model_id(str(moved)) == here
    (moved / "more").write_bytes(b"x")
    assert loaders.find_model_id(str(moved)) != here


def test_weights_beside_an_onnx_file_are_part_of_its_id(tmp_path):
    path = making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    alone = loaders.find_model_id(str(path))
    weights = tmp_path / "m.onnx.data"
    weights.write_bytes(b"x")
    first = loaders.find_model_id(str(path))
    weights.write_bytes(b"y")
    assert len({alone, first, loaders.find_model_id(str(path))}) == 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([1, 6, 1, 1], "gives outputs of shape 1×6×1×1"), ([6], "outputs of shape 6")],
)
def test_outputs_that_are_no_row_an_image_are_refused(shape, expected):
    with pytest.raises(ModelError, match=expected):
        check_output(shape, NUM_CLASSES)


def test_shapes_that_a_file_leaves_open_are_taken():
    check_output(None, NUM_CLASSES)
    check_output([None, None], NUM_CLASSES)
    check_input(None, "float32", GIVEN)
    check_input([None, None, None, 3], "float32", GIVEN)


def test_failure_of_a_model_that_is_asked_is_its_own(folder, batch):
    for name in ("tiny.keras", "tiny.onnx"):
        model = loaders.load(str(folder / name), GIVEN, NUM_CLASSES)
        with pytest.raises(ModelError, match="failed when asked"):
            model.ask(batch[..., :2])
