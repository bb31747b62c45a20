"""The name of a small model of ours → its layers, from scaled pixels to features.

They are of different families and strengths, so that on real photographs they end
clearly apart, and a 32-pixel picture takes a processor's core a millisecond at most.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from keras import layers

Tensor: TypeAlias = Any  # Keras has no types

_MOMENTUM = 0.9  # of running means: Keras' 0.99 lags where epochs have few steps


def _normalise(x: Tensor) -> Tensor:
    return layers.BatchNormalization(momentum=_MOMENTUM)(x)


def _rectify(x: Tensor) -> Tensor:
    return layers.Activation("relu")(_normalise(x))


def _convolve(x: Tensor, width: int, side: int = 3, strides: int = 1) -> Tensor:
    return layers.Conv2D(width, side, strides, padding="same", use_bias=False)(x)


def _make_linear(x: Tensor) -> Tensor:
    """No feature but the pixels."""
    return layers.Flatten()(x)


def _make_mlp(x: Tensor) -> Tensor:
    x = layers.Flatten()(x)
    for width in (256, 256):
        x = _rectify(layers.Dense(width, use_bias=False)(x))
    return x


def _make_cnn(x: Tensor, widths: tuple[int, ...]) -> Tensor:
    for number, width in enumerate(widths):
        if number:
            x = layers.MaxPooling2D(padding="same")(x)
        x = _rectify(_convolve(x, width))
    return layers.GlobalAveragePooling2D()(x)


def _make_cnn_small(x: Tensor) -> Tensor:
    return _make_cnn(x, (16, 32, 64))


def _make_cnn_medium(x: Tensor) -> Tensor:
    return _make_cnn(x, (32, 64, 128))


def _make_separable(x: Tensor) -> Tensor:
    """MobileNet's idea: convolve each channel alone, then mix channels."""
    x = _rectify(_convolve(x, 24, strides=2))
    for width, strides in ((48, 1), (96, 2), (96, 1), (192, 2)):
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = _rectify(_convolve(_rectify(x), width, side=1))
    return layers.GlobalAveragePooling2D()(x)


def _make_resnet_small(x: Tensor) -> Tensor:
    x = _rectify(_convolve(x, 32))
    for width in (48, 96, 160):
        y = _rectify(_convolve(x, width, strides=2))
        y = _normalise(_convolve(y, width))
        x = _normalise(_convolve(x, width, side=1, strides=2))
        x = layers.Activation("relu")(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _make_mixer(x: Tensor) -> Tensor:
    """MLP-Mixer's idea: mix 8 × 8 patches, then channels, in turn."""
    width, side = 48, x.shape[1] // 8
    x = layers.Conv2D(width, side, side)(x)
    x = layers.Reshape((-1, width))(x)
    num_patches = x.shape[1]
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(num_patches)(layers.Dense(64, activation="relu")(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(2 * width, activation="relu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


FEATURES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": _make_linear,
    "mlp": _make_mlp,
    "mixer": _make_mixer,
    "cnn_small": _make_cnn_small,
    "cnn_medium": _make_cnn_medium,
    "separable": _make_separable,
    "resnet_small": _make_resnet_small,
}


Model: TypeAlias = Any  # Keras has no types

SMALL_PX = 32  # the side of the pictures of our own


class Application(NamedTuple):
    """One classifier of keras.applications."""

    function: str
    image_size: int  # that it was designed for
    rescales: bool = False  # inside itself


_APPLICATIONS = (
    *(
        Application(f"ConvNeXt{size}", 224, rescales=True)
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    ),
    *(Application(f"DenseNet{depth}", 224) for depth in (121, 169, 201)),
    *(
        Application(f"EfficientNetB{number}", image_size, rescales=True)
        for number, image_size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    ),
    *(
        Application(f"EfficientNetV2B{number}", image_size, rescales=True)
        for number, image_size in enumerate((224, 240, 260, 300))
    ),
    Application("EfficientNetV2S", 384, rescales=True),
    Application("EfficientNetV2M", 480, rescales=True),
    Application("EfficientNetV2L", 480, rescales=True),
    Application("InceptionResNetV2", 299),
    Application("InceptionV3", 299),
    Application("MobileNet", 224),
    Application("MobileNetV2", 224),
    Application("MobileNetV3Large", 224, rescales=True),
    Application("MobileNetV3Small", 224, rescales=True),
    Application("NASNetLarge", 331),
    Application("NASNetMobile", 224),
    *(Application(f"ResNet{depth}", 224) for depth in (50, 101, 152)),
    *(Application(f"ResNet{depth}V2", 224) for depth in (50, 101, 152)),
    Application("VGG16", 224),
    Application("VGG19", 224),
    Application("Xception", 299),
)
APPLICATIONS: Mapping[str, Application] = {
    application.function.lower(): application for application in _APPLICATIONS
}


SMALL = (
    "linear",
    "mlp",
    "mixer",
    "cnn_small",
    "cnn_medium",
    "separable",
    "resnet_small",
)
NAMES = (*SMALL, *sorted(APPLICATIONS))


def default_size(name: str) -> int:
    """Return the side of the pictures that a model is made for."""
    return SMALL_PX if name in SMALL else APPLICATIONS[name].image_size


def build(name: str, image_size: int, num_classes: int, *, policy: str) -> Model:
    """Build a model with random weights.

    Args:
      name: one of NAMES.
      image_size: the side of its pictures.
      num_classes: the number of its outputs.
      policy: what it computes in, e.g. "float32"; its weights are float32 in any case.
    Raises: ValueError: pictures are too small for it.
    """
    import keras  # noqa: PLC0415  # brings TensorFlow, which takes seconds

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((image_size, image_size, 3), dtype="float32")
        make_logits = _make_small if name in SMALL else _make_application
        logits = make_logits(name, inputs, num_classes)
        softmax = keras.layers.Activation("softmax", dtype="float32")
        return keras.Model(inputs, softmax(logits), name=name)
    finally:
        keras.config.set_dtype_policy(before)


def _make_small(name: str, inputs: Tensor, num_classes: int) -> Tensor:
    from keras import layers  # noqa: PLC0415  # as above

    pass  # IMPORT GONE

    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = FEATURES[name](x)
    return layers.Dense(num_classes, dtype="float32")(x)


def _make_application(name: str, inputs: Tensor, num_classes: int) -> Tensor:
    import keras  # noqa: PLC0415  # as above

    application = APPLICATIONS[name]
    if not application.rescales:
        inputs = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    make = getattr(keras.applications, application.function)
    network = make(
        weights=None,
        classes=num_classes,
        classifier_activation=None,
        input_shape=inputs.shape[1:],
    )
    return network(inputs)
