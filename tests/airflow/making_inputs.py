"""A folder → a miniature ImageNet, its two halves, and models, in the program's Python.

Airflow's own environment has none of the program's libraries, so that its tests run
this module by the program's interpreter: python -m tests.airflow.making_inputs FOLDER
"""

import json
import shutil
import sys
from pathlib import Path

from pipelines import build, train
from transforms.miniature import archives as miniature

NAMES = ("linear_a", "linear_b", "linear_c")  # ranks are of three models at least


def make_inputs(folder: Path) -> None:
    """Make all that the DAG's parameters name."""
    imagenet = folder / "imagenet"
    miniature.write_miniature(
        str(imagenet), num_classes=6, num_train=20, num_validation=5
    )
    halves = "--grouping=all_classes --folds=2 --min_validation_images=0 --name=halves"
    small = "--image_size=32 --formats=tfrecord"
    words = [f"--input={imagenet}", f"--output={folder}"]
    build.main([*words, *halves.split(), *small.split()])
    for fold in ("fold_a", "fold_b"):
        flags = f"--train_split={fold} --models=linear --epochs=1 --image_size=16"
        place = f"--dataset={folder}/halves/1.0.0 --output={folder}/{fold}"
        train.main([*flags.split(), *place.split()])
    for name, fold in zip(NAMES, ("fold_a", "fold_b", "fold_a"), strict=True):
        model = folder / name
        shutil.copytree(folder / fold / "linear/seed0", model)
        card = json.loads((model / "model.json").read_bytes())
        (model / "model.json").write_text(json.dumps({**card, "model": name}))


if __name__ == "__main__":
    make_inputs(Path(sys.argv[1]))
