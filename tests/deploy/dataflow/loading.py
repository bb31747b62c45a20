"""Import files of deploy/dataflow as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[3] / "deploy" / "dataflow"


def load(name: str) -> ModuleType:
    """Import a file of the folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(
        f"dataflow_{name}", FOLDER / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module
