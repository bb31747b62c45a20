"""Define the layers of the small models, from pixels in [-1, 1] to features.

The models belong to different families and have different capacities, so that their
accuracies on real images differ clearly. Inference on a 32×32-pixel image takes at most
1 ms on one core.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from keras import layers

Tensor: TypeAlias = Any  # Keras has no types

_MOMENTUM = 0.9  # of running means: the default, 0.99, is too slow for short epochs


def _normalise(x: Tensor) -> Tensor:
    return layers.BatchNormalization(momentum=_MOMENTUM)(x)


def _rectify(x: Tensor) -> Tensor:
    return layers.Activation("relu")(_normalise(x))


def _convolve(x: Tensor, width: int, side: int = 3, strides: int = 1) -> Tensor:
    return layers.Conv2D(width, side, strides, padding="same", use_bias=False)(x)


def _make_linear(x: Tensor) -> Tensor:
    """Flatten the pixels, so that the classifier on top is linear."""
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
    """Build a network of depthwise separable convolutions.

    Source: MobileNet (Howard et al., 2017).
    """
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
    """Build a network that alternately mixes an 8 × 8 grid of patches and channels.

    Source: MLP-Mixer (Tolstikhin et al., NeurIPS 2021).
    """
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
