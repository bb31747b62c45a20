"""Run the examples for PyTorch, timm and JAX for an epoch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import test_examples

pytestmark = pytest.mark.torch

TRAIN_PY = Path(__file__).with_name("train_with_timm.py")


@pytest.mark.parametrize(
    "name", ["pytorch_webdataset", "pytorch_folders", "jax_array_record"]
)
def test_example_trains_an_epoch(name, coarse):
    output = test_examples.run(f"{name}.py", coarse)
    assert re.fullmatch(r"epoch 1: \d+ of 30 validation images are correct\n", output)


def test_timm_example_trains_an_epoch(single, tmp_path):
    """train.py is not in timm's package; a trainer with the same flags replaces it."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    paths = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", test_examples.EXAMPLES / "timm_train.sh", single, "--img-size", "32"],
        env=os.environ | {"PATH": paths, "TIMM_TRAIN_PY": str(TRAIN_PY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"95 training images of 5 classes, .* of 25 correct", done.stdout)
