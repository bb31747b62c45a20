"""Build models by name: the small models of this project, and keras.applications.

TensorFlow is imported only when a model is built, so that listing the names is fast.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

Tensor: TypeAlias = Any  # Keras has no types
Model: TypeAlias = Any  # Keras has no types

MAX_LEARNING_RATE = 100
MAX_EPOCHS = 10_000
MAX_BATCH_SIZE = 65_536
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

# Models of fixed size, and those of a family with their width and depth.
_SMALL: Mapping[str, str] = {
    "linear": "linear",
    "mlp": "mlp:256x2",
    "mixer": "mixer:48x2",
    "cnn_small": "cnn:16x3",
    "cnn_medium": "cnn:32x3",
    "separable": "separable:24x4",
    "resnet_small": "resnet_small",
}
SMALL = tuple(_SMALL)
FAMILIES = ("mlp", "cnn", "separable", "resnet", "mixer", "vit")
_FORM = re.compile(rf"({'|'.join(FAMILIES)}):(\d+)x(\d+)", re.ASCII)
_MAX_WIDTH, _MAX_DEPTH = 4096, 16
# Models of several families and sizes that train fast at 32 pixels.
LISTS: Mapping[str, tuple[str, ...]] = {
    "small18": (
        *("linear", "mlp:64x1", "mlp:256x1", "mlp:256x3"),
        *("cnn:8x2", "cnn:8x3", "cnn:8x4", "cnn:16x2", "cnn:16x4"),
        *("separable:8x2", "separable:8x4", "separable:16x4"),
        *("resnet:8x2", "resnet:8x3"),
        *("mixer:16x1", "mixer:32x2"),
        *("vit:16x1", "vit:32x2"),
    ),
}
NAMES = (*SMALL, *LISTS, *sorted(APPLICATIONS))


class Spec(NamedTuple):
    """A model's name, split into its architecture and its learning rate.

    Attributes:
      architecture: name of the architecture, e.g. "cnn:16x3".
      learning_rate: peak learning rate; None if the name has none.
    """

    architecture: str
    learning_rate: float | None


def split_name(name: str) -> Spec:
    """Split a name such as "cnn:16x3@0.001" at its learning rate.

    Raises:
      ValueError: the learning rate is not a number above 0 and at most 100.
    """
    architecture, separator, text = name.partition("@")
    if not separator:
        return Spec(architecture, None)
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MAX_LEARNING_RATE:
        raise ValueError(
            "must have a learning rate above 0 and of at most "
            f"{MAX_LEARNING_RATE} after @"
        )
    return Spec(architecture, rate)


def expand(word: str) -> tuple[str, ...]:
    """Return the models that a word of --models names; () if it names none.

    A list such as "small18" names several models. Models and lists may be followed by
    a learning rate: "small18@0.001".

    Raises:
      ValueError: a width, depth or learning rate is invalid.
    """
    architecture, separator, rate = word.partition("@")
    split_name(word)
    if architecture in LISTS:
        return tuple(f"{model}{separator}{rate}" for model in LISTS[architecture])
    if match := _FORM.fullmatch(architecture):
        width, depth = int(match[2]), int(match[3])
        if not 1 <= width <= _MAX_WIDTH or not 1 <= depth <= _MAX_DEPTH:
            raise ValueError(
                f"must have a width from 1 to {_MAX_WIDTH} and a depth from 1 to "
                f"{_MAX_DEPTH}"
            )
        return (word,)
    return (word,) if architecture in SMALL or architecture in APPLICATIONS else ()


def choose_rates(name: str, rates: tuple[float, ...]) -> tuple[float, ...]:
    """Return the learning rate in a model's name, or `rates` if there is none."""
    rate = split_name(name).learning_rate
    return rates if rate is None else (rate,)


def is_small(name: str) -> bool:
    """Return whether a model is one of this project, not of keras.applications."""
    return split_name(name).architecture not in APPLICATIONS


def default_size(name: str) -> int:
    """Return the input side, in pixels, that a model is designed for."""
    if is_small(name):
        return SMALL_PX
    return APPLICATIONS[split_name(name).architecture].image_size


def build(name: str, image_size: int, num_classes: int, *, policy: str) -> Model:
    """Build a model with random weights.

    Args:
      name: a name that `expand` returns.
      image_size: side of the model's input in pixels.
      num_classes: number of outputs of the model.
      policy: dtype policy of Keras: "float32", or "mixed_bfloat16", which computes in
        bfloat16 but keeps float32 weights.

    Raises:
      ValueError: `image_size` is too small for the model.
    """
    import keras

    architecture, _ = split_name(name)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((image_size, image_size, 3), dtype="float32")
        make_logits = _make_small if is_small(name) else _make_application
        logits = make_logits(architecture, inputs, num_classes)
        softmax = keras.layers.Activation("softmax", dtype="float32")
        return keras.Model(inputs, softmax(logits), name=re.sub(r"\W", "_", name))
    finally:
        keras.config.set_dtype_policy(previous_policy)


def _make_small(name: str, inputs: Tensor, num_classes: int) -> Tensor:
    from keras import layers

    from transforms.training import small_networks

    pixels = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    name = _SMALL.get(name, name)
    if name in small_networks.FIXED:
        features = small_networks.FIXED[name](pixels)
    else:
        family, _, size = name.partition(":")
        width, depth = map(int, size.split("x"))
        features = small_networks.FAMILIES[family](pixels, width, depth)
    return layers.Dense(num_classes, dtype="float32")(features)


def _make_application(name: str, inputs: Tensor, num_classes: int) -> Tensor:
    import keras

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
