"""A model's predictions and a grouping → on which images its group is right."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.labels import classes
from transforms.records import UsageError
from transforms.scoring.predictions import NUM_CLASSES, IntArray, Predictions
from transforms.tables.groups import LEFT_OUT

BoolArray = npt.NDArray[np.bool_]

MAX_UNDECIDED_SHARE = 0.02  # above it the five classes tell too little


@dataclass(frozen=True, eq=False)
class Score:
    """How one model does under one grouping.

    Attributes:
      counted: shape (images,), whether an image's class is in a group. It is the same
        for all models of the same images, so that their `correct` can be paired.
      correct: shape (counted images,), whether the group is right.
      num_undecided: of the counted images, how many have none of the five classes in
        a group; they are not correct.
    """

    counted: BoolArray
    correct: BoolArray
    num_undecided: int

    @property
    def num_images(self) -> int:
        """How many images are counted; at least one."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of the counted images that are right, 0 to 1."""
        return int(self.correct.sum()) / self.num_images

    @property
    def undecided_share(self) -> float:
        """The share of the counted images that are undecided, 0 to 1."""
        return self.num_undecided / self.num_images


def score(predictions: Predictions, group_of: IntArray, *, masked: bool) -> Score:
    """Tell on which images a model's group is right: g(predicted) = g(true).

    Args:
      predictions: of one model.
      group_of: shape (1000,), the group of each class, −1 where it is left out.
      masked: whether the model may answer with grouped classes only, as one would that
        had seen no other: the first such of the five counts, and an image without any
        is undecided. Else the likeliest of all classes counts, and one that is left
        out is wrong. Where no class is left out both are the same.
    Returns: The score over the images whose true class is in a group.
    Raises: UsageError: there is no such image.
    Source: ours, since only the five likeliest classes are kept.
    """
    if group_of.shape != (NUM_CLASSES,):
        raise ValueError(f"group_of has shape {group_of.shape}, not ({NUM_CLASSES},)")
    true = group_of[predictions.truth]
    counted = true != LEFT_OUT
    if not counted.any():
        raise UsageError(
            f"{predictions.model}: the groups hold none of its images' classes; "
            "score a grouping of these classes"
        )
    answers = group_of[predictions.top5[counted]]
    if not masked:
        return Score(counted, answers[:, 0] == true[counted], 0)
    inside = answers != LEFT_OUT
    first = inside.argmax(axis=1)  # 0 where none is inside: then the answer is left out
    answer = answers[np.arange(len(answers)), first]
    return Score(counted, answer == true[counted], int((~inside.any(axis=1)).sum()))


def score_classes(predictions: Predictions) -> BoolArray:
    """Tell on which images a model's likeliest class is right, shape (images,)."""
    return np.asarray(predictions.top5[:, 0] == predictions.truth)


def make_group_of(label_of: Mapping[str, int]) -> IntArray:
    """Lay the labels of classes out by class index.

    Args: label_of: wnid → label, e.g. `GroupTable.label_of`; wnids outside the 1000
      are passed over, since no model predicts them.
    Returns: Shape (1000,), −1 where a class is left out.
    """
    group_of = np.full(NUM_CLASSES, LEFT_OUT, dtype=np.int64)
    for info in classes.load_classes():
        group_of[info.class_index] = label_of.get(info.wnid, LEFT_OUT)
    return group_of
