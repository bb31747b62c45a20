"""Test what the doctor job says of optional software."""

import sys

from pipelines import doctor


def test_dask_is_an_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", sys)  # whether installed or not
    shown = doctor.format_checks(doctor.list_checks("."))
    assert "\n  Dask               client installed\n" in f"{shown}\n"
    monkeypatch.setitem(sys.modules, "distributed", None)
    shown = doctor.format_checks(doctor.list_checks("."))
    assert "- Dask               none  → pip install 'imagenet-subsets[dask]'" in shown
