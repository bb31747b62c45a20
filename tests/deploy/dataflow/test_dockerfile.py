"""Check the Dockerfile by reading it, without Docker."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def lines():
    text = (ROOT / "deploy/dataflow/Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and line[0] != "#"]


def _of(lines, word):
    return [line[1:] for line in lines if line[0] == word]


def test_copied_files_exist_and_are_in_the_build_context(lines):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    copied = [c for c in _of(lines, "COPY") if not c[0].startswith("--from")]
    sources = [source for *sources, _ in copied for source in sources]
    assert {"pipelines", "transforms", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(f"{source}/".startswith(f"{name}/") for name in allowed), source


def test_stages_are_pinned_by_digest_and_match_our_versions(lines):
    bases = [line[0] for line in _of(lines, "FROM")]
    assert all(re.search(r"@\$\{[A-Z]+_DIGEST\}$", base) for base in bases)
    given = {line[0] for line in _of(lines, "ARG")}
    assert {re.search(r"\$\{(\w+)\}", base).group(1) for base in bases} <= given
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = re.match(r">=(\d+\.\d+)", project["requires-python"]).group(1)
    beam = version("apache-beam")
    assert f"apache-beam[gcp]=={beam}" in project["dependencies"]
    sdk, launcher, base = bases
    assert sdk.startswith(f"apache/beam_python{python}_sdk:{beam}@")
    assert f"python{python.replace('.', '')}-template-launcher" in launcher
    assert base.startswith(f"python:{python}-")


def test_image_is_worker_and_launcher_and_not_root(lines):
    assert _of(lines, "ENTRYPOINT") == [['["/opt/apache/beam/boot"]']]
    variables = dict(word.split("=", 1) for word in _of(lines, "ENV")[0])
    place = variables["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert place == f"{_of(lines, 'WORKDIR')[0][0]}/launch.py"
    assert ["deploy/dataflow/launch.py", "./"] in _of(lines, "COPY")
    user = _of(lines, "USER")[-1][0].strip("${}")
    defaults = dict(
        w.split("=") for line in _of(lines, "ARG") for w in line if "=" in w
    )
    assert not defaults[user].startswith("0")
