"""Define the interface of loaded models, and check their shapes against their cards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Shape = Sequence[int | None]  # None: any length


class ModelError(Exception):
    """Raised when a model file cannot be used or inference fails."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready for inference from any thread.

    Attributes:
      predict: function that maps a float32 batch, of exactly the shape that the model
        was loaded for, to outputs of shape (images, outputs).
      is_on_gpu: whether the model runs on a GPU, where more threads do not help.
    """

    predict: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
    is_on_gpu: bool


def check_input(
    input_shape: Shape | None, dtype: str, batch_shape: Sequence[int]
) -> None:
    """Check that a model accepts batches of the shape that its card describes.

    Args:
      input_shape: input shape of the model, batch axis first; None accepts any shape.
      dtype: dtype of the model's input.
      batch_shape: shape of the batches that its card describes.

    Raises:
      ModelError: the shapes do not match, or the dtype is not float32.
    """
    if dtype != "float32":
        raise ModelError(f"has {dtype} input; only float32 is supported")
    if input_shape is None or (
        len(input_shape) == len(batch_shape)
        and all(n in {None, m} for n, m in zip(input_shape, batch_shape, strict=True))
    ):
        return
    if len(input_shape) == len(batch_shape) and (
        input_shape[0] not in {None, batch_shape[0]}
    ):
        raise ModelError(
            f"only accepts batches of {input_shape[0]} images; give --batch_size "
            f"{input_shape[0]}"
        )
    raise ModelError(
        f"accepts images of {describe(input_shape[1:])}, but its card describes "
        f"{describe(batch_shape[1:])}; correct crop_px or layout in the card's "
        "preprocessing"
    )


def check_output(output_shape: Shape | None, num_outputs: int) -> None:
    """Check that a model has as many outputs as its card describes.

    Args:
      output_shape: output shape of the model, batch axis first; None if unknown.
      num_outputs: number of outputs according to the card.

    Raises:
      ModelError: the numbers differ, or the shape is not (images, outputs).
    """
    if output_shape is None:
        return
    if len(output_shape) != 2:
        raise ModelError(
            f"returns outputs of shape {describe(output_shape)}, not one number per "
            "class"
        )
    num = output_shape[1]
    if num is not None and num != num_outputs:
        more = " (null is an output that is no class, e.g. a background)"
        raise ModelError(
            f"has {num} outputs, but its card lists {num_outputs} classes; correct "
            f"`classes` in the card{more if num > num_outputs else ''}"
        )


def describe(shape: Shape) -> str:
    """Format a shape for messages, e.g. "any×224×224×3"."""
    return "×".join("any" if length is None else str(length) for length in shape)


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
