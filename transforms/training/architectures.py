"""Build models by name: the small models of this project, and keras.applications.

TensorFlow is imported only when a model is built, so that listing the names is fast.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

Tensor: TypeAlias = Any  # Keras has no types
Model: TypeAlias = Any  # Keras has no types

SMALL_PX = 32  # side of the input of the small models


class Application(NamedTuple):
    """A classifier of keras.applications: its constructor and expected input."""

    function: str
    image_size: int  # input side in pixels that the model is designed for
    rescales: bool = False  # whether the model itself rescales 0 to 255


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
    """Return the input side, in pixels, that a model is designed for."""
    return SMALL_PX if name in SMALL else APPLICATIONS[name].image_size


def build(name: str, image_size: int, num_classes: int, *, policy: str) -> Model:
    """Build a model with random weights.

    Args:
      name: one of NAMES.
      image_size: side of the model's input in pixels.
      num_classes: number of outputs of the model.
      policy: dtype policy of Keras: "float32", or "mixed_bfloat16", which computes in
        bfloat16 but keeps float32 weights.

    Raises:
      ValueError: `image_size` is too small for the model.
    """
    import keras  # noqa: PLC0415  # imports TensorFlow, which takes seconds

    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((image_size, image_size, 3), dtype="float32")
        make_logits = _make_small if name in SMALL else _make_application
        logits = make_logits(name, inputs, num_classes)
        softmax = keras.layers.Activation("softmax", dtype="float32")
        return keras.Model(inputs, softmax(logits), name=name)
    finally:
        keras.config.set_dtype_policy(previous_policy)


def _make_small(name: str, inputs: Tensor, num_classes: int) -> Tensor:
    from keras import layers  # noqa: PLC0415  # as above

    from transforms.training import small_networks  # noqa: PLC0415  # as above

    pixels = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    features = small_networks.FEATURES[name](pixels)
    return layers.Dense(num_classes, dtype="float32")(features)


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
