"""Predictions → a confusion matrix, its cross-fit halves, and what is confused most."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.options import exit_codes, flag, parse
from transforms import storage
from transforms.confusion import confusion_matrix, confusion_picture, confusion_tally
from transforms.confusion.confusion_matrix import Confusion
from transforms.scoring.predictions import Predictions, read_predictions

_PROG = "python -m pipelines.confusion"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfusionOptions:
    """Count which classes models take for each other, as --grouping=confusion needs it.

    Groups made of confusion_a.npz can be judged on confusion_b.npz.
    """

    predictions: tuple[str, ...] = flag(
        "a model's top-5 for the official validation images; repeatable, summed",
        metavar="FILE",
    )
    output: str = flag("where the tables are written", metavar="DIR")
    soft: bool = flag(
        "count all five by their rank (1, ½, ¼, ⅛, 1/16), not the first alone: "
        "steadier where images are few",
        default=False,
    )
    seed: int = flag("decides the halves, as --folds 2 of build does", default=0)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        if (
            self.output
            and Path(self.output).exists()
            and not Path(self.output).is_dir()
        ):
            yield f"--output {self.output}: is a file; name a folder"


def make_matrices(
    found: Sequence[Predictions], *, is_soft: bool, seed: int
) -> dict[str, Confusion]:
    """Count all images, and those of each half, by the name of the file."""
    in_a = [confusion_tally.halve(predictions, seed) for predictions in found]
    in_b = [~half for half in in_a]
    return {
        "confusion": confusion_tally.tally(found, is_soft=is_soft),
        "confusion_a": confusion_tally.tally(found, is_soft=is_soft, chosen=in_a),
        "confusion_b": confusion_tally.tally(found, is_soft=is_soft, chosen=in_b),
    }


def write_all(folder: str, matrices: dict[str, Confusion]) -> None:
    """Write the matrices, the strongest pairs, and the picture."""
    for name, confusion in matrices.items():
        data = confusion_matrix.to_npz(confusion)
        storage.write(folder, f"{name}.npz", data)
    whole = matrices["confusion"]
    pairs = confusion_picture.find_pairs(whole)
    storage.write(folder, "confusion.csv", confusion_picture.to_csv(pairs))
    storage.write(folder, "confusion.png", confusion_picture.draw(whole, pairs))


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, _, _ = parse(
            ConfusionOptions, argv, prog=_PROG, takes_beam_flags=False
        )
        found = read_predictions(options.predictions)
        matrices = make_matrices(found, is_soft=options.soft, seed=options.seed)
        write_all(options.output, matrices)
    whole = matrices["confusion"]
    sys.stderr.write(
        f"{whole.num_errors:.0f} of {whole.num_images.sum()} images are taken for "
        f"another class, by {', '.join(whole.models)}\n"
    )
    sys.stdout.write(f"{Path(options.output).absolute()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
