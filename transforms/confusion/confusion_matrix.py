"""A confusion matrix in a file → rates of confusion, and what groups capture of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.confusion import confusion_file, npz
from transforms.datasets import JSON
from transforms.records import UsageError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NAMES_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often images of one class are taken for another.

    Args:
      matrix: shape (classes, classes), rows true, columns predicted: numbers of images,
        or sums of the shares that predictions give to each class.
      wnids: the classes, in the order of rows and columns.
      num_images: images of each class, at least the sum of its row.
      models: whose predictions these are, where known.
    """

    matrix: FloatArray
    wnids: tuple[str, ...]
    num_images: IntArray
    models: tuple[str, ...] = ()

    @property
    def num_errors(self) -> float:
        """The sum of all that is not on the diagonal."""
        return float(self.matrix.sum() - np.trace(self.matrix))

    def select(self, wnids: Sequence[str], *, source: str) -> "Confusion":
        """Keep these classes, in this order.

        Images predicted as a class that goes are no longer counted: where any go, the
        number of images becomes the sum of the row, so that rates sum to 1 again.

        Args:
          wnids: the classes to keep.
          source: the file's name, for messages.
        Raises: UsageError: the matrix lacks some of them.
        """
        place = {wnid: number for number, wnid in enumerate(self.wnids)}
        if missing := [wnid for wnid in wnids if wnid not in place]:
            shown = ", ".join(missing[:_NAMES_SHOWN])
            shown += ", …" if len(missing) > _NAMES_SHOWN else ""
            raise UsageError(
                f"{source}: has no row for {len(missing)} of the {len(wnids)} classes "
                f"of the input ({shown}); make it from predictions of images of all"
            )
        kept = [place[wnid] for wnid in wnids]
        matrix = self.matrix[np.ix_(kept, kept)]
        num_images = self.num_images[kept]
        if len(kept) < len(self.wnids):
            num_images = np.ceil(matrix.sum(axis=1)).astype(np.int64)
        return Confusion(matrix, tuple(wnids), num_images, self.models)


@dataclass(frozen=True)
class Captured:
    """How much of the confusion lies inside groups."""

    share: float  # of all errors, those that coarse labels forgive
    rates: tuple[float, ...]  # by label: sum of P over the group's pairs of classes
    shares: tuple[float, ...]  # by label: of the errors on its classes
    sizes: tuple[int, ...]  # by label, in classes

    @property
    def num_empty(self) -> int:
        """How many groups capture nothing."""
        return sum(rate == 0 for rate in self.rates)

    def to_json(self) -> dict[str, JSON]:
        """Return the figures as they are recorded, rounded."""
        return {
            "captured_share": round(self.share, 6),
            "group_share": {
                "min": round(min(self.shares), 6),
                "median": round(float(np.median(self.shares)), 6),
                "max": round(max(self.shares), 6),
            },
            "group_rates": [round(rate, 6) for rate in self.rates],
            "group_sizes": list(self.sizes),
            "groups_that_capture_nothing": self.num_empty,
        }


def read(path: str) -> Confusion:
    """Read a confusion matrix, npz or CSV.

    Raises: UsageError: no such file, or all that is wrong with it.
    """
    arrays = confusion_file.read_arrays(path)
    if problems := list(confusion_file.find_problems(arrays)):
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return Confusion(
        arrays.matrix.astype(np.float64),
        arrays.wnids,
        arrays.num_images.astype(np.int64),
        arrays.models,
    )


def to_npz(confusion: Confusion) -> bytes:
    """Write a confusion matrix: matrix, wnids, num_images, models; always the same."""
    matrix = confusion.matrix
    is_whole = bool((matrix == np.rint(matrix)).all())
    arrays = {
        "matrix": matrix.astype("<i4") if is_whole else matrix.astype("<f8"),
        "wnids": np.array(confusion.wnids, "<U9"),
        "num_images": confusion.num_images.astype("<i8"),
    }
    if confusion.models:
        arrays["models"] = np.array(confusion.models, np.str_)
    return npz.to_bytes(arrays)


def find_rates(confusion: Confusion) -> FloatArray:
    """Find how often two classes are taken for each other.

    Returns: P, symmetric with a zero diagonal: P(a,b) = ½ (C[a,b]/n_a + C[b,a]/n_b).
      A class without images has no rate of its own.
    """
    num_images = np.maximum(confusion.num_images, 1).astype(np.float64)
    by_row = confusion.matrix / num_images[:, None]
    rates: FloatArray = (by_row + by_row.T) / 2
    np.fill_diagonal(rates, 0)
    return rates


def read_confusion(path: str, wnids: Sequence[str]) -> FloatArray:
    """Read how often any two of these classes are taken for each other.

    Returns: Shape (wnids, wnids), as `find_rates` gives it.
    Raises: UsageError: what `read` and `Confusion.select` find.
    """
    return find_rates(read(path).select(wnids, source=path))


def capture(confusion: Confusion, labels: Sequence[int]) -> Captured:
    """Find the share of the errors that stay inside groups.

    Args:
      confusion: of the classes that are grouped.
      labels: the group of each class, 0…N-1; -1 for left out, which counts nowhere.
    """
    groups = np.asarray(labels, np.int64)
    kept = np.flatnonzero(groups >= 0)
    groups = groups[kept]
    errors = confusion.matrix[np.ix_(kept, kept)].copy()
    np.fill_diagonal(errors, 0)
    is_inside = groups[:, None] == groups
    num_groups = int(groups.max()) + 1
    inside = np.bincount(groups, (errors * is_inside).sum(axis=1), num_groups)
    made = np.bincount(groups, errors.sum(axis=1), num_groups)
    pairs = np.triu(find_rates(confusion)[np.ix_(kept, kept)] * is_inside)
    shares = np.divide(inside, made, out=np.zeros(num_groups), where=made > 0)
    return Captured(
        share=float(inside.sum() / made.sum()) if made.any() else 0.0,
        rates=tuple(np.bincount(groups, pairs.sum(axis=1), num_groups).tolist()),
        shares=tuple(shares.tolist()),
        sizes=tuple(np.bincount(groups, minlength=num_groups).tolist()),
    )
