"""Run the examples that need no package of their own; tests/torch runs the others."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import building

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, dataset: Path, *flags: str) -> str:
    """Train for an epoch; return the output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, dataset, "--image_size=32", *flags],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keras_example_trains_an_epoch(mini_imagenet, tmp_path):
    dataset = building.run(mini_imagenet, tmp_path, formats="tfrecord")
    output = run("keras_tfrecord.py", dataset)
    assert re.search(r"^1/1 - .* - val_accuracy: [01]\.\d+", output, re.MULTILINE)


def test_examples_are_short():
    for path in EXAMPLES.iterdir():
        assert len(path.read_text().splitlines()) < 80, path.name
