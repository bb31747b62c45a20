"""Test the job that Google's launcher submits, with an emulator of the store."""

import json

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials

from pipelines import build, index
from tests import building
from tests.stores.copying import upload
from transforms import storage


@pytest.fixture
def nobody(monkeypatch):
    """Use no credentials: the emulator requires none."""
    found = AnonymousCredentials(), "a-project"
    monkeypatch.setattr(google.auth, "default", lambda *_, **__: found)


@pytest.mark.usefixtures("nobody")
def test_template_is_written_and_nothing_submitted(google, mini_imagenet, capfd):
    upload(mini_imagenet, f"{google}/imagenet")
    images = f"{google}/index.parquet"
    index.main([f"--input={google}/imagenet", f"--output={images}"])
    place = f"{google}/templates/job.json"
    flags = {
        "runner": "DataflowRunner",
        "project": "a-project",
        "region": "europe-west4",
        "temp_location": f"{google}/temp",
        "template_location": place,
        "sdk_container_image": "an-image",
        "no_save_main_session": True,
    }
    build.main(building.command_line(images, f"{google}/subsets", **flags))
    assert f"the job was written to {place}" in capfd.readouterr().err
    job = json.loads(storage.read(place))
    (pool,) = job["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"] == "an-image"
    packages = [package["name"] for package in pool["packages"]]
    assert "pickled_main_session" not in packages  # the image contains the program
    work = set(storage.list_files(f"{google}/subsets/small"))
    assert work, "the plan waits for the job"
    assert not any("complete.json" in name or "parts/" in name for name in work)
