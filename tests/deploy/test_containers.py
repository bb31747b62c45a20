"""Check the container images and the Kubernetes Job by reading their files."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from pipelines.build import main

ROOT = Path(__file__).parents[2]
PROGRAM, DATAFLOW = "deploy/Dockerfile", "deploy/dataflow/Dockerfile"
GPU = "deploy/gpu/Dockerfile"


def _read(name):
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and line[0] != "#"]


def _of(name, word):
    return [line[1:] for line in _read(name) if line[0] == word]


@pytest.mark.parametrize("name", [PROGRAM, DATAFLOW])
def test_copied_files_exist_and_are_in_the_build_context(name):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    copied = [c for c in _of(name, "COPY") if not c[0].startswith("--from")]
    sources = [source for *sources, _ in copied for source in sources]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(f"{source}/".startswith(f"{name}/") for name in allowed), source


def test_stages_are_pinned_by_digest_and_match_our_versions():
    bases = [line[0] for name in (PROGRAM, DATAFLOW) for line in _of(name, "FROM")]
    assert all(re.search(r"@\$\{[A-Z]+_DIGEST\}$", base) for base in bases)
    for name in (PROGRAM, DATAFLOW):
        given = {line[0].partition("=")[0] for line in _of(name, "ARG")}
        used = {
            v for line in _of(name, "FROM") for v in re.findall(r"\{(\w+)\}", line[0])
        }
        assert used <= given
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = re.match(r">=(\d+\.\d+)", project["requires-python"]).group(1)
    beam = version("apache-beam")
    assert f"apache-beam[gcp]=={beam}" in project["dependencies"]
    base, sdk, launcher, program = bases
    assert sdk.startswith(f"apache/beam_python{python}_sdk:{beam}@")
    assert f"python{python.replace('.', '')}-template-launcher" in launcher
    assert base.startswith(f"python:{python}-")
    assert re.match(r"\$\{PROGRAM\}@", program)


def test_cuda_is_added_to_a_pinned_image_with_our_tensorflow():
    (base,) = _of(GPU, "FROM")
    assert base == ["${IMAGE}@${IMAGE_DIGEST}"]
    text = (ROOT / GPU).read_text()
    assert f"tensorflow[and-cuda]=={version('tensorflow')}" in text
    assert _of(GPU, "USER")[-1] == ["${RUN_AS}"]
    (commands,) = _of(GPU, "RUN")
    removed, installed = " ".join(commands).split(" && ")
    assert removed == "pip uninstall --yes onnxruntime"
    assert "onnxruntime-gpu" in installed


def test_program_runs_as_a_user_without_privileges():
    (command,) = _of(PROGRAM, "ENTRYPOINT")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert command == [f'["{next(iter(scripts))}"]']
    assert _of(PROGRAM, "USER") == [["10001:10001"]]


def test_program_has_every_extra_of_its_jobs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (installed,) = re.findall(r"'\.\[(.+)\]'", (ROOT / PROGRAM).read_text())
    assert set(installed.split(",")) == extras.keys() - {"dev"}


def test_dataflow_image_is_worker_and_launcher():
    assert _of(DATAFLOW, "ENTRYPOINT") == [['["/opt/apache/beam/boot"]']]
    variables = dict(word.split("=", 1) for word in _of(DATAFLOW, "ENV")[0])
    place = variables["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert place == f"{_of(DATAFLOW, 'WORKDIR')[0][0]}/launch.py"
    copied = ["deploy/dataflow/launch.py", "deploy/dataflow/metadata.json", "./"]
    assert copied in _of(DATAFLOW, "COPY")
    # Google's launcher needs root; workers choose another user.
    assert ["RUN_AS=0:0"] in _of(DATAFLOW, "ARG")
    assert _of(DATAFLOW, "USER") == [["${RUN_AS}"]]


def test_job_resumes_and_its_flags_are_valid(tmp_path, capfd):
    job = yaml.safe_load((ROOT / "deploy/kubernetes/build.yaml").read_text())
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    (first, _) = job["spec"]["podFailurePolicy"]["rules"]
    assert first["onExitCodes"]["values"] == [2]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    name, *flags = container["args"]
    assert name == "build"
    assert "--resume" in flags
    flags = [flag.replace("=/", f"={tmp_path}/") for flag in flags]
    with pytest.raises(SystemExit):
        main(flags)
    assert "imagenet: no such" in capfd.readouterr().err
