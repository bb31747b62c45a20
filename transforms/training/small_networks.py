"""Define families of small models: their layers, from pixels in [-1, 1] to features.

A family takes a width, in channels or units, and a depth, in layers or blocks.
The models belong to different families and have different capacities, so their
accuracies on real images differ clearly. Inference on a 32×32-pixel image takes at most
1 ms on one core.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from keras import layers, ops

Tensor: TypeAlias = Any  # Keras has no types

_GRID, _NUM_HEADS = 8, 2

_MOMENTUM = 0.9  # of running means: the default, 0.99, is too slow for short epochs


def _normalise(x: Tensor) -> Tensor:
    return layers.BatchNormalization(momentum=_MOMENTUM)(x)


def _rectify(x: Tensor) -> Tensor:
    return layers.Activation("relu")(_normalise(x))


def _convolve(x: Tensor, width: int, side: int = 3, strides: int = 1) -> Tensor:
    return layers.Conv2D(width, side, strides, padding="same", use_bias=False)(x)


def _make_linear(x: Tensor) -> Tensor:
    """Return the flattened pixels as features."""
    return layers.Flatten()(x)


def _make_mlp(x: Tensor, width: int, depth: int) -> Tensor:
    """Build `depth` dense layers of `width` units."""
    x = layers.Flatten()(x)
    for _ in range(depth):
        x = _rectify(layers.Dense(width, use_bias=False)(x))
    return x


def _make_cnn(x: Tensor, width: int, depth: int) -> Tensor:
    """Build `depth` convolutions; from the second on, pool and double the channels."""
    for number in range(depth):
        if number:
            x = layers.MaxPooling2D(padding="same")(x)
        x = _rectify(_convolve(x, width << number))
    return layers.GlobalAveragePooling2D()(x)


def _make_separable(x: Tensor, width: int, depth: int) -> Tensor:
    """Build a convolution and `depth` depthwise separable ones.

    The first one and every second one double the channels.

    Source: MobileNet (Howard et al., 2017).
    """
    x = _rectify(_convolve(x, width, strides=2))
    for number in range(depth):
        strides = 1 + number % 2
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        channels = width << (number + 3) // 2
        x = _rectify(_convolve(_rectify(x), channels, side=1))
    return layers.GlobalAveragePooling2D()(x)


def _make_resnet(x: Tensor, width: int, depth: int) -> Tensor:
    """Build a convolution and `depth` residual blocks, each with twice the channels.

    Source: ResNet (He et al., CVPR 2016).
    """
    return _make_residual(x, width, tuple(width << n for n in range(1, depth + 1)))


def _make_resnet_small(x: Tensor) -> Tensor:
    return _make_residual(x, 32, (48, 96, 160))


def _make_residual(x: Tensor, stem: int, widths: tuple[int, ...]) -> Tensor:
    x = _rectify(_convolve(x, stem))
    for width in widths:
        y = _rectify(_convolve(x, width, strides=2))
        y = _normalise(_convolve(y, width))
        x = _normalise(_convolve(x, width, side=1, strides=2))
        x = layers.Activation("relu")(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _make_mixer(x: Tensor, width: int, depth: int) -> Tensor:
    """Build `depth` blocks that mix the patches of a grid, then their channels.

    Source: MLP-Mixer (Tolstikhin et al., NeurIPS 2021).
    """
    x = _embed_patches(x, width)
    num_patches = x.shape[1]
    for _ in range(depth):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(num_patches)(layers.Dense(64, activation="relu")(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        x = _mix_channels(x)
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


def _make_vit(x: Tensor, width: int, depth: int) -> Tensor:
    """Build `depth` transformer blocks on the patches of a grid, with two heads.

    Source: Vision Transformer (Dosovitskiy et al., ICLR 2021).
    """
    x = _embed_patches(x, width)
    positions = layers.Embedding(x.shape[1], width)(ops.arange(x.shape[1]))
    x = layers.Add()([x, ops.expand_dims(positions, 0)])
    for _ in range(depth):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(_NUM_HEADS, max(1, width // _NUM_HEADS))(y, y)
        x = _mix_channels(layers.Add()([x, y]))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


def _embed_patches(x: Tensor, width: int) -> Tensor:
    """Map an 8 × 8 grid of patches to vectors, shape (images, patches, width)."""
    side = x.shape[1] // _GRID
    return layers.Reshape((-1, width))(layers.Conv2D(width, side, side)(x))


def _mix_channels(x: Tensor) -> Tensor:
    width = x.shape[-1]
    y = layers.Dense(2 * width, activation="relu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(width)(y)])


FAMILIES: Mapping[str, Callable[[Tensor, int, int], Tensor]] = {
    "mlp": _make_mlp,
    "cnn": _make_cnn,
    "separable": _make_separable,
    "resnet": _make_resnet,
    "mixer": _make_mixer,
    "vit": _make_vit,
}
# Models without a width and a depth.
FIXED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": _make_linear,
    "resnet_small": _make_resnet_small,
}
