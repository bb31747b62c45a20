"""Declare the flags of the study job and check their combinations."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from pipelines.cli import find_folder_problems
from pipelines.input_flags import LabelFlags
from pipelines.train import MAX_SIZE_PX, MIN_SIZE_PX, TrainingFlags
from transforms.options import flag
from transforms.training import architectures

TABLES = ("groups", "confusion", "difficulty")  # flags of files that recipes read


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions(TrainingFlags, LabelFlags):
    """Compare recipes of subsets by training models on each and on the full set.

    Every step runs as a separate job, so the same command continues an interrupted
    study. Recipes, models and seeds can be added to a finished study.
    """

    input: tuple[str, ...] = flag(
        "raw ImageNet (archives or folders; repeatable), or an index",
        metavar="PATH",
    )
    output: str = flag("folder of all results", metavar="DIR")
    recipes: str | None = flag(
        "JSON list of recipes, each with a name and flags of pipelines.build, and "
        "optionally with epochs and with draws, the number of subsets drawn with other "
        "seeds (default: every grouping, sampler and size that the input allows)",
        default=None,
        metavar="FILE",
    )
    models: tuple[str, ...] = flag(
        "models to train on each set, separated by commas, as in pipelines.train",
        default=architectures.SMALL,
        metavar="NAME,NAME",
        choices=architectures.NAMES,
        expand=architectures.expand,
        split=",",
    )
    reference_model: str | None = flag(
        "model that is trained on halves of the images to measure confusion and "
        "difficulty (default: the first of --models)",
        default=None,
        metavar="NAME",
        choices=tuple(
            name for name in architectures.NAMES if name not in architectures.LISTS
        ),
    )
    seeds: tuple[int, ...] = flag(
        "random seeds, separated by commas; every model is trained once per seed, and "
        "with as many following seeds on further draws of a recipe",
        default=(0,),
        metavar="N,N",
        minimum=0,
        split=",",
    )
    full_seeds: tuple[int, ...] = flag(
        "random seeds of the models on the full set, separated by commas; two or more "
        "others than --seeds show how well the full set agrees with itself (default: "
        "--seeds; models with the same seed share initial weights and crops)",
        default=(),
        metavar="N,N",
        minimum=0,
        split=",",
    )
    subset_epochs: int | None = flag(
        "passes over the images of a subset, unless its recipe has epochs of its own "
        "(default: as many as --epochs)",
        default=None,
        minimum=1,
        maximum=architectures.MAX_EPOCHS,
    )
    image_size: int = flag(
        "side of the images of the built datasets in pixels",
        default=256,
        minimum=8,
        maximum=4096,
    )
    train_size: int | None = flag(
        "side of the models' input in pixels (default: as in pipelines.train)",
        default=None,
        minimum=MIN_SIZE_PX,
        maximum=MAX_SIZE_PX,
    )
    groups: str | None = flag(
        "table of groups for recipes with --grouping=manual",
        default=None,
        metavar="FILE",
    )
    confusion: str | None = flag(
        "confusion matrix (default: the study computes one if a recipe needs it)",
        default=None,
        metavar="FILE",
    )
    difficulty: str | None = flag(
        "difficulty table (default: the study computes one if a recipe needs it)",
        default=None,
        metavar="FILE",
    )
    seed: int = flag("seed of the selection of classes and images", default=0)
    dry_run: bool = flag("print the plan without writing files", default=False)

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from find_folder_problems(self.output)
        if self.output and "://" in self.output:
            yield f"--output {self.output}: models are trained locally; name a folder"
        yield from self._find_few_models()
        for name in ("recipes", *TABLES):
            path = getattr(self, name)
            if path and "://" in path:
                yield f"--{name} {path}: must be a local file; download it"
            elif path and not Path(path).is_file():
                problem = "not a regular" if Path(path).exists() else "no such"
                yield f"--{name} {path}: {problem} file"

    def _find_few_models(self) -> Iterator[str]:
        from transforms.evaluation import ranking

        if len(self.models) < ranking.MIN_MODELS:
            yield (
                f"--models {','.join(self.models)}: a ranking needs "
                f"at least {ranking.MIN_MODELS} models, preferably 6 or more"
            )

    @property
    def train_words(self) -> tuple[str, ...]:
        """Flags of the train job that are the same for all sets."""
        words = [
            f"--learning_rate={','.join(map(str, self.learning_rate))}",
            f"--batch_size={self.batch_size}",
        ]
        if self.train_size is not None:
            words.append(f"--image_size={self.train_size}")
        return tuple(words)
