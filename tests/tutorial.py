"""Execute docs/tutorial.ipynb; `python -m tests.tutorial` commits its new outputs."""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"
_TIMEOUT_S = 280  # of a cell


def execute(folder: Path) -> nbformat.NotebookNode:
    """Execute the notebook in a folder; paths in its outputs become relative."""
    notebook = nbformat.read(NOTEBOOK, 4)
    metadata = dict(notebook.metadata)
    os.environ["PYTHONPATH"] = str(NOTEBOOK.parents[1])
    NotebookClient(
        notebook,
        timeout=_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for output in list_outputs(notebook):
        if "text" in output:
            output.text = output.text.replace(f"{folder}/", "")
    notebook.metadata = metadata  # without the version of this Python
    return notebook


def list_outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [x for cell in notebook.cells for x in cell.get("outputs", [])]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        nbformat.write(execute(Path(place).resolve()), NOTEBOOK)
