"""Compare `predict` with a plain loop of the same model and batches.

`python -m tests.benchmarks predicting --repetitions 2` takes four minutes.
"""

import json
import sys
from pathlib import Path

from tests.benchmarks import bare_predict, children, photographs
from tests.benchmarks.children import Usage
from tests.benchmarks.settings import Row, Settings
from transforms.layouts.official_archives import TRAIN

TARGET = 0.9
_KINDS = ("onnx", "keras")
_LOOP = Path(__file__).with_name("bare_predict.py")
_CARD = {
    "classes": "imagenet",
    "preprocessing": {
        "resize_px": bare_predict.RESIZE_PX,
        "crop_px": bare_predict.CROP_PX,
        "mean": [127.5] * 3,
        "std": [127.5] * 3,
    },
}


def measure(settings: Settings) -> list[Row]:
    """Time whole processes of both with an ONNX and a Keras file of one model."""
    folder = photographs.make_archive(settings, int(0.3 * settings.images))
    models = settings.photographs.parent / "models"
    return [
        _compare(settings, folder, model)
        for kind in _KINDS
        for model in sorted(models.glob(f"mobilenet*.{kind}"))
    ]


def _compare(settings: Settings, folder: Path, model: Path) -> Row:
    output = settings.work / "predicting.parquet"
    arrays = settings.work / "predicting.npz"
    card = settings.work / "card.json"
    card.write_text(json.dumps(_CARD), encoding="utf-8")

    def predict() -> Usage:
        usage = children.run_module(
            "pipelines.predict",
            *("--input", folder, "--split", "train", "--output", output),
            *("--model", model, "--model_card", card),
            *("--batch_size", bare_predict.BATCH),
        )
        output.unlink()
        return usage

    def loop() -> Usage:
        words = (sys.executable, _LOOP, model, folder / TRAIN, arrays)
        return children.run([str(word) for word in words])

    taken = children.alternate({"predict": predict, "loop": loop}, settings.repetitions)
    seconds = children.divide(taken["loop"], taken["predict"], "seconds")
    cpu = children.divide(taken["loop"], taken["predict"], "cpu_s")
    return Row(
        what=f"predict of {int(0.3 * settings.images):,} photographs, {model.name}",
        measured=f"a plain loop takes {children.show(seconds)} of its time, "
        f"{children.show(cpu)} of its CPU time",
        target=f"≥ {TARGET}",
        reached=children.median(seconds) >= TARGET,
        figures=children.list_times(taken),
    )
