"""What every kind of model file becomes, and how it is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Shape = Sequence[int | None]  # None: any


class ModelError(Exception):
    """A model file cannot be used, or failed when it was asked."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to be asked, from any thread.

    Attributes:
      ask: a batch of exactly the shape that it was loaded for, float32 → its outputs,
        shape (images, outputs).
      is_on_gpu: whether asking it from many threads gains nothing.
    """

    ask: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
    is_on_gpu: bool


def check_input(takes: Shape | None, kind: str, given: Sequence[int]) -> None:
    """Compare what a model takes with what it will be given.

    Args:
      takes: its input's shape, batch first; None: any.
      kind: its input's type.
      given: the shape of a batch.
    Raises: ModelError: they do not fit.
    """
    if kind != "float32":
        raise ModelError(f"takes {kind}; only models that take float32 can be asked")
    if takes is None or (
        len(takes) == len(given)
        and all(t in {None, g} for t, g in zip(takes, given, strict=True))
    ):
        return
    if len(takes) == len(given) and takes[0] not in {None, given[0]}:
        raise ModelError(
            f"takes batches of {takes[0]} images only; give --batch_size {takes[0]}"
        )
    raise ModelError(
        f"takes images of {describe(takes[1:])}, and its card prepares "
        f"{describe(given[1:])}; mend crop_px or layout in the card's preprocessing"
    )


def check_output(gives: Shape | None, num_outputs: int) -> None:
    """Compare how many outputs a model has with the classes of its card.

    Raises: ModelError: they differ.
    """
    if gives is None:
        return
    if len(gives) != 2:
        raise ModelError(
            f"gives outputs of shape {describe(gives)}, not one number a class"
        )
    if gives[1] not in {None, num_outputs}:
        raise ModelError(
            f"has {gives[1]} outputs, and its card lists {num_outputs} classes; mend "
            "`classes` in the card"
        )


def describe(shape: Shape) -> str:
    """Write a shape for people."""
    return "×".join("any" if length is None else str(length) for length in shape)


def first_line(error: BaseException) -> str:
    """Shorten what a library says, which may be pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
