"""Declare the flags, other than --input, that describe raw ImageNet."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from transforms import splits
from transforms.index import table as index_table
from transforms.options import flag

_HEADING = "raw ImageNet"
NO_PATH = "no such file or folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelFlags:
    """Flags of the tables that give the labels of raw ImageNet."""

    validation_labels: str | None = flag(
        "table of the labels of validation images without class folders (default: "
        "LOC_val_solution.csv beside or above the images, or the official table if the "
        "images are the official ones)",
        default=None,
        metavar="FILE",
        absent="no such file",
        heading=_HEADING,
    )
    class_list: str | None = flag(
        "file that maps integer labels to classes: one wnid or name per line in label "
        "order (- for an unused label), or a wnid and its label per line (default: the "
        "1000 classes in the order of their wnids)",
        default=None,
        metavar="FILE",
        absent="no such file",
        heading=_HEADING,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputFlags(LabelFlags):
    """Flags of inputs with a known split, and of label and class tables."""

    train_input: tuple[str, ...] = flag(
        "input to read as training images, regardless of names; repeatable",
        default=(),
        metavar="PATH",
        absent=NO_PATH,
        heading=_HEADING,
    )
    validation_input: tuple[str, ...] = flag(
        "input to read as validation images, regardless of names; repeatable",
        default=(),
        metavar="PATH",
        absent=NO_PATH,
        heading=_HEADING,
    )

    @property
    def inputs_of_splits(self) -> Mapping[str, Sequence[str]]:
        """The paths of --train_input and --validation_input, by split."""
        return {
            splits.TRAIN: self.train_input,
            splits.VALIDATION: self.validation_input,
        }

    def list_image_places(self, inputs: Sequence[str]) -> list[tuple[str, str]]:
        """Return pairs of "--FLAG PATH", for messages, and the path of images.

        Args:
          inputs: the values of --input.
        """
        return [
            (f"{name} {path}", path)
            for name, paths in self._list_given(inputs).items()
            for path in paths
        ]

    def list_table_places(self) -> list[tuple[str, str]]:
        """Return pairs of "--FLAG PATH", for messages, and the path of a table."""
        tables = {
            "--validation_labels": self.validation_labels,
            "--class_list": self.class_list,
        }
        return [(f"{name} {path}", path) for name, path in tables.items() if path]

    def _list_given(self, inputs: Sequence[str]) -> dict[str, Sequence[str]]:
        by_split = self.inputs_of_splits
        return {"--input": inputs} | {splits.FLAGS[s]: by_split[s] for s in by_split}

    def find_input_problems(self, inputs: Sequence[str]) -> Iterator[str]:
        """Yield a message for each invalid input flag or combination of flags.

        Args:
          inputs: the values of --input.
        """
        for name, paths in self._list_given(inputs).items():
            if "" in paths:
                yield f"{name}: is empty; give a path"
        index = index_table.only_index(inputs)
        if index and (self.train_input or self.validation_input):
            yield f"--input {index}: an index must be the only input"
        if index and self.class_list:
            yield (
                f"--class_list {self.class_list}: applies to raw ImageNet only; leave "
                "it out"
            )
