"""Run the notebook, and check the outputs that are committed with it."""

import re

import nbformat

from tests import tutorial

_MAX_BYTES = 150_000


def list_pictures(notebook) -> list[str]:
    data = [output.get("data", {}) for output in tutorial.list_outputs(notebook)]
    return [found["image/png"] for found in data if "image/png" in found]


def test_notebook_runs(tmp_path):
    notebook = tutorial.execute(tmp_path)
    assert len(list_pictures(notebook)) == 2
    assert (tmp_path / "evaluation" / "report.html").exists()


def test_committed_outputs_are_complete_and_free_of_paths():
    notebook = nbformat.read(tutorial.NOTEBOOK, 4)
    outputs = tutorial.list_outputs(notebook)
    assert {output.output_type for output in outputs} <= {"stream", "display_data"}
    pictures = list_pictures(notebook)
    assert len(pictures) == 2
    assert all(len(picture) < _MAX_BYTES for picture in pictures)
    text = tutorial.NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.*/])/(?:tmp|home|root|work|usr|content)/", text)
    jobs = [c for c in notebook.cells if "run(" in c.source and c.cell_type == "code"]
    assert len(jobs) > 6
    assert all(cell.outputs for cell in jobs[1:])
