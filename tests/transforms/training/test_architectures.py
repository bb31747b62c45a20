import inspect

import numpy as np
import pytest

from transforms.models.loaders.tensorflow_start import import_tensorflow
from transforms.training import architectures
from transforms.training import results as training_results
from transforms.training.architectures import APPLICATIONS, SMALL


@pytest.fixture(scope="module")
def keras():
    import_tensorflow()
    import keras

    return keras


def test_every_classifier_of_keras_has_its_name(keras):
    classifiers = {
        name.lower()
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
    }
    assert set(APPLICATIONS) == classifiers
    assert not set(SMALL) & classifiers


def test_models_that_rescale_themselves_are_known(keras):
    for name, application in APPLICATIONS.items():
        function = getattr(keras.applications, application.function)
        takes = inspect.signature(function).parameters
        rescales = "include_preprocessing" in takes or "efficientnetb" in name
        assert application.rescales == rescales, name


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("image_size", [8, 20, 32])
@pytest.mark.usefixtures("keras")
def test_small_models_give_probabilities_of_raw_pixels(name, image_size):
    model = architectures.build(name, image_size, 5, policy="float32")
    assert model.output.dtype == "float32"
    images = np.random.default_rng(0).integers(0, 256, (3, image_size, image_size, 3))
    outputs = np.asarray(model(images.astype(np.float32), training=False))
    assert outputs.shape == (3, 5)
    assert outputs.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert 0.001 < outputs.min() < outputs.max() < 0.999  # the scale is sane


@pytest.mark.usefixtures("keras")
def test_small_models_differ_in_size():
    sizes = {
        name: architectures.build(name, 32, 100, policy="float32").count_params()
        for name in SMALL
    }
    assert len(set(sizes.values())) == len(SMALL)
    assert max(sizes.values()) < 1_000_000


def test_mixed_precision_keeps_weights_and_softmax_in_float32(keras):
    before = keras.config.dtype_policy().name
    model = architectures.build("cnn_small", 16, 5, policy="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.output.dtype == "float32"
    assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3small"])
def test_applications_are_rescaled_once(keras, name):
    model = architectures.build(name, 32, 5, policy="float32")
    layers = model._flatten_layers(include_self=False, recursive=True)
    rescaling = [x for x in layers if isinstance(x, keras.layers.Rescaling)]
    assert len(rescaling) == 1
    assert model.output_shape == (None, 5)


@pytest.mark.usefixtures("keras")
def test_too_small_images_are_an_error():
    with pytest.raises(ValueError, match="32"):
        architectures.build("mobilenetv2", 16, 5, policy="float32")


def test_equal_models_give_identical_files(keras, tmp_path):
    for name in ("a", "b"):
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = architectures.build("mixer", 16, 5, policy="float32")
        training_results.write_model(model, str(tmp_path / f"{name}.keras"))
    first, second = (tmp_path / f"{name}.keras" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]
    loaded = keras.models.load_model(first, compile=False, safe_mode=True)
    for got, put in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(got, put)
