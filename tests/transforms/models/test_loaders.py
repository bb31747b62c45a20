"""Tests of loading every model format, and of the files that are rejected."""

import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import making_models
from transforms.models import loaders
from transforms.models.loaders import onnx_file
from transforms.models.loaders.loaded_model import ModelError, check_input, check_output

BATCH_SHAPE = (4, making_models.SIDE_PX, making_models.SIDE_PX, 3)
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
    return rng.normal(size=BATCH_SHAPE).astype(np.float32)


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.onnx", "tiny"])
def test_all_formats_predict_the_same(folder, batch, name):
    path = str(folder / name)
    loaders.check_kind(path)
    outputs = loaders.load(path, BATCH_SHAPE, NUM_CLASSES).predict(batch)
    expected = making_models.expect(batch, NUM_CLASSES)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.onnx", "tiny"])
def test_other_image_sizes_and_classes_are_rejected(folder, name):
    with pytest.raises(
        ModelError, match="accepts images of 16×16×3, but its card desc"
    ):
        loaders.load(str(folder / name), (4, 32, 32, 3), NUM_CLASSES)
    with pytest.raises(ModelError, match="has 6 outputs, but its card lists 7 classes"):
        loaders.load(str(folder / name), BATCH_SHAPE, NUM_CLASSES + 1)


def test_fixed_batch_size_is_named(tmp_path):
    path = making_models.write_onnx(tmp_path / "one.onnx", NUM_CLASSES, batch=1)
    with pytest.raises(
        ModelError, match="only accepts batches of 1 images; give --batch"
    ):
        loaders.load(str(path), BATCH_SHAPE, NUM_CLASSES)
    loaders.load(str(path), (1, *BATCH_SHAPE[1:]), NUM_CLASSES)


def test_code_in_a_keras_file_is_never_run(folder):
    with pytest.raises(ModelError, match=r"contains code \(a Lambda layer\)"):
        loaders.load(str(folder / "lambda.keras"), BATCH_SHAPE, NUM_CLASSES)


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
def test_graph_with_unsafe_operations_is_rejected(tmp_path, operation, before):
    path = making_models.write_saved_model(tmp_path / "m", NUM_CLASSES, before=before)
    with pytest.raises(ModelError, match=rf"unsafe operations \({operation}"):
        loaders.load(str(path), BATCH_SHAPE, NUM_CLASSES)


def test_other_input_types_are_rejected(tmp_path):
    path = making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for tensor in model.graph.initializer[:2]:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, path)
    with pytest.raises(ModelError, match="has double input; only float32 is supported"):
        loaders.load(str(path), BATCH_SHAPE, NUM_CLASSES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.h5", "HDF5 files can contain code"),
        ("m.pkl", "pickles can run arbitrary code"),
        ("m.pt", "pickles can run arbitrary code"),
        ("saved_model.pb", "give the folder that contains"),
        ("m.txt", "is not a supported model format; give .keras, .onnx"),
    ],
)
def test_other_formats_are_rejected_by_name(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=expected):
        loaders.check_kind(str(tmp_path / name))


def test_missing_files_are_reported(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        loaders.check_kind(str(tmp_path / "m.keras"))
    with pytest.raises(ModelError, match=r"has no saved_model\.pb"):
        loaders.check_kind(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.keras", "is not a .keras file"), ("m.onnx", "cannot be loaded")],
)
def test_damaged_files_are_rejected(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"rotten" * 100)
    with pytest.raises(ModelError, match=expected):
        loaders.load(str(tmp_path / name), BATCH_SHAPE, NUM_CLASSES)


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_cut_onnx_file_has_no_id(folder, tmp_path, size):
    (tmp_path / "m.onnx").write_bytes((folder / "tiny.onnx").read_bytes()[:size])
    with pytest.raises(ModelError, match=r"is not a valid \.onnx file"):
        loaders.find_model_id(str(tmp_path / "m.onnx"))


def test_onnx_file_of_a_number_without_end_has_no_id(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\xff" * (1 << 20))
    with pytest.raises(ModelError, match=r"is not a valid \.onnx file"):
        loaders.find_model_id(str(tmp_path / "m.onnx"))


def test_damaged_graph_is_rejected(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"rotten" * 100)
    with pytest.raises(ModelError, match=r"saved_model\.pb is damaged"):
        loaders.load(str(tmp_path), BATCH_SHAPE, NUM_CLASSES)


def test_keras_file_without_weights_is_rejected(folder, tmp_path):
    with (
        zipfile.ZipFile(folder / "tiny.keras") as whole,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as part,
    ):
        part.writestr("config.json", whole.read("config.json"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        loaders.load(str(tmp_path / "m.keras"), BATCH_SHAPE, NUM_CLASSES)


def test_archive_that_unpacks_to_too_much_is_rejected(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (1 << 26) + b"{}")
    with pytest.raises(ModelError, match="would unpack to more"):
        loaders.load(str(tmp_path / "m.keras"), BATCH_SHAPE, NUM_CLASSES)


def test_missing_onnx_runtime_is_reported_with_the_remedy(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'imagenet-subsets\[onnx\]'"):
        loaders.load(str(folder / "tiny.onnx"), BATCH_SHAPE, NUM_CLASSES)


def test_id_depends_on_the_content_and_not_on_the_path(folder, tmp_path):
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
    lines = f"{alone} .onnx\n{hashlib.sha256(b'x').hexdigest()} .data\n"
    assert first == hashlib.sha256(lines.encode()).hexdigest()
    weights.write_bytes(b"y")
    assert len({alone, first, loaders.find_model_id(str(path))}) == 3


def _save_externally(path, location):
    model = onnx.load(path)
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=bool(location),
        location=location,
        size_threshold=50,  # shape inference needs the axes in the model
    )


@pytest.mark.parametrize("location", ["weights.bin", "m.onnx_data", "m.onnx.data", ""])
def test_all_weights_that_are_loaded_are_part_of_the_id(tmp_path, batch, location):
    path = making_models.write_onnx(tmp_path / "m.onnx", NUM_CLASSES)
    _save_externally(path, location)
    weights = sorted(set(tmp_path.iterdir()) - {path})
    ids = {loaders.find_model_id(str(path))}
    before = loaders.load(str(path), BATCH_SHAPE, NUM_CLASSES).predict(batch)
    for file in weights:
        file.write_bytes(file.read_bytes()[::-1])
        ids.add(loaders.find_model_id(str(path)))
    assert len(ids) == len(weights) + 1
    after = loaders.load(str(path), BATCH_SHAPE, NUM_CLASSES).predict(batch)
    assert not np.array_equal(before, after)


def test_files_that_are_not_loaded_are_no_part_of_the_id(folder, tmp_path):
    path = Path(shutil.copy(folder / "tiny.onnx", tmp_path))
    (tmp_path / "weights.bin").write_bytes(b"x")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaders.find_model_id(str(path)) == sha256


def _make_external(name, location):
    tensor = onnx.helper.make_tensor(
        name, onnx.TensorProto.FLOAT, [1], b"1234", raw=True
    )
    onnx.external_data_helper.set_external_data(tensor, location)
    return tensor


def test_external_tensors_of_nodes_and_nested_graphs_are_listed(tmp_path):
    helper = onnx.helper
    constant = helper.make_node("Constant", [], ["c"], value=_make_external("c", "c"))
    inner = helper.make_graph([constant], "g", [], [], [_make_external("i", "d/i")])
    branches = {"then_branch": inner, "else_branch": inner}
    outer = helper.make_graph(
        [helper.make_node("If", ["x"], ["y"], **branches)], "o", [], []
    )
    sparse = outer.sparse_initializer.add()
    sparse.values.CopyFrom(_make_external("v", "v"))
    imports = [helper.make_opsetid("", 18)]
    constant.attribute[0].t.CopyFrom(_make_external("f", "f"))
    function = helper.make_function("a", "f", [], ["c"], [constant], imports)
    model = helper.make_model(outer, functions=[function], opset_imports=imports)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert onnx_file.list_weights(str(path)) == ["c", "d/i", "f", "v"]


@pytest.mark.parametrize("location", ["../w", "/etc/w", "a/../../w"])
def test_weights_outside_the_folder_of_a_model_are_rejected(tmp_path, location):
    graph = onnx.helper.make_graph([], "g", [], [], [_make_external("w", location)])
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelError, match=f"has weights in {location}, outside its fol"):
        loaders.find_model_id(str(path))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([1, 6, 1, 1], "returns outputs of shape 1×6×1×1"), ([6], "outputs of shape 6")],
)
def test_outputs_that_are_not_one_row_per_image_are_rejected(shape, expected):
    with pytest.raises(ModelError, match=expected):
        check_output(shape, NUM_CLASSES)


@pytest.mark.parametrize(
    ("num_outputs", "expected"),
    [(7, r"lists 6 classes; .* \(null is an output that is no"), (5, "the card$")],
)
def test_more_outputs_than_classes_may_be_a_background(num_outputs, expected):
    with pytest.raises(ModelError, match=expected):
        check_output([None, num_outputs], NUM_CLASSES)


def test_unknown_shapes_are_accepted():
    check_output(None, NUM_CLASSES)
    check_output([None, None], NUM_CLASSES)
    check_input(None, "float32", BATCH_SHAPE)
    check_input([None, None, None, 3], "float32", BATCH_SHAPE)


def test_failed_inference_is_a_model_error(folder, batch):
    for name in ("tiny.keras", "tiny.onnx"):
        model = loaders.load(str(folder / name), BATCH_SHAPE, NUM_CLASSES)
        with pytest.raises(ModelError, match="inference failed"):
            model.predict(batch[..., :2])
