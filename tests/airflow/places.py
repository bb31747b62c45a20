"""Paths of the DAGs and of the program's Python."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "deploy/airflow/dags"
PYTHON = os.environ.get("SUBSETS_PYTHON", str(ROOT / ".venv/bin/python"))
