"""Check that no file contents are executed: no pickle, eval or YAML objects."""

import ast
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from transforms.confusion import matrix as confusion_matrix
from transforms.grouping import groups_file
from transforms.records import UsageError

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    p for f in ("pipelines", "transforms") for p in (ROOT / f).rglob("*.py")
)
RUNNING = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal"),
    *("shelve", "torch", "code", "runpy"),
}
EVALUATING = {"eval", "exec", "compile", "__import__"}


def name_of(function: ast.expr) -> str:
    return ast.unparse(function)


def find_unsafe(tree: ast.AST) -> set[str]:
    """List calls that could execute file contents."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] in RUNNING}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & RUNNING
        elif isinstance(node, ast.Call):
            found |= _find_unsafe_call(node)
    return found


def _find_unsafe_call(call: ast.Call) -> set[str]:
    name = name_of(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    unsafe = (
        name in EVALUATING
        or (name in {"np.load", "numpy.load"} and given.get("allow_pickle") != "False")
        or given.get("allow_pickle") == "True"
        or given.get("shell") == "True"
        or given.get("safe_mode") == "False"
        or (name.startswith("yaml.") and name.endswith("load") and "safe" not in name)
        or (name == "yaml.compose" and given.get("Loader") != "yaml.SafeLoader")
    )
    return {name} if unsafe else set()


def test_no_module_executes_file_contents():
    found = {
        p.relative_to(ROOT).as_posix(): unsafe
        for p in MODULES
        if (unsafe := find_unsafe(_parse(p)))
    }
    # It reads what launcher and workers send each other, as Beam's engines do.
    assert found == {
        f"pipelines/dask_engine/{name}.py": {"cloudpickle"}
        for name in ("runner", "stage")
    }
    assert len(MODULES) > 150


def _parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from cloudpickle import loads",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.compose(text)",
        "subprocess.run(text, shell=True)",
        "keras.models.load_model(path, safe_mode=False)",
    ],
)
def test_unsafe_code_is_detected(code):
    assert find_unsafe(ast.parse(code))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickle_in_an_npz_is_rejected(tmp_path):
    trapped = tmp_path / "trapped"
    array = np.array([Trap(trapped)], object)
    parts = {"wnids": np.array(["n02088364"]), "num_images": np.array([1])}
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name, value in {"matrix": array, **parts}.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, value, allow_pickle=True)
            file.writestr(f"{name}.npy", data.getvalue())
    with pytest.raises(UsageError, match="matrix holds object, not numbers"):
        confusion_matrix.read_confusion(str(path))
    assert not trapped.exists()
    with np.load(path, allow_pickle=True) as file:
        _ = file["matrix"]
    assert trapped.exists()  # the trap works


def test_yaml_objects_are_not_constructed(tmp_path):
    trapped = tmp_path / "trapped"
    path = tmp_path / "g.yaml"
    path.write_text(f"dogs: !!python/object/apply:pathlib.Path.touch [{trapped}]\n")
    groups_file.read_groups_file(str(path))
    assert not trapped.exists()
