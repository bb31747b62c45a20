"""Run the chain of jobs of the Makefile on the miniature."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent


def _run(words):
    made = subprocess.run(
        ["make", "chain", "--old-file=.venv/installed", *words],
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made


def test_chain_ends_in_a_flattened_subset(tmp_path):
    settings = {
        "RUN": sys.executable,
        "CHAIN": tmp_path,
        "MODEL": "linear",
        "EPOCHS": 2,
        "M": 40,
        "SIDE": 32,
    }
    words = [f"{name}={value}" for name, value in settings.items()]
    made = _run(words)
    assert "step 11 of 11: build_flat, 0:" in made.stderr
    dataset = Path(made.stdout.splitlines()[-1])
    assert dataset == tmp_path / "flat" / "1.0.0"
    table = pq.read_table(tmp_path / "difficulty" / "difficulty.parquet").to_pylist()
    assert len(table) == 1200  # every training image, each by the model of the other
    assert {row["fold"] for row in table} == {"a", "b"}
    assert len({row["model_id"] for row in table}) == 2
    page = (tmp_path / "difficulty" / "difficulty.html").read_text()
    assert page.count("data:image/jpeg") == 40
    told = json.loads((dataset / "__meta__" / "statistics.json").read_bytes())
    assert sum(told["difficulty"]["chosen"]["images_by_percent"]) == 200
    assert (dataset / "__meta__" / "difficulty.svg").exists()
    assert "before and after" in (tmp_path / "flat/1.0.0.plan/plan.html").read_text()
    (tmp_path / "difficulty" / "difficulty.parquet").unlink()
    again = _run(words)
    repeated = [
        line.split(": ")[1].split(",")[0]
        for line in again.stderr.splitlines()
        if line.startswith("step ") and line.endswith("elapsed")
    ]
    assert repeated == ["difficulty"]  # its bytes are the same, so nothing follows
    assert again.stdout == made.stdout
